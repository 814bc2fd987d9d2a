"""What the token endpoint redeems, one file a grant_type."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from health_hub.auth.grants import authorization_code, client_credentials, device_code, refresh_token
from health_hub.auth.grants.asked import Answer, TokenRequest
from health_hub.auth.model import Grant

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority

Redeem = Callable[["Authority", TokenRequest], Awaitable[Answer]]
GRANTS: dict[Grant, Redeem] = {
    "authorization_code": authorization_code.redeem,
    "refresh_token": refresh_token.redeem,
    "client_credentials": client_credentials.redeem,
    "urn:ietf:params:oauth:grant-type:device_code": device_code.redeem,
}
