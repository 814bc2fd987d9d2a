"""npm openid-client, a certified OpenID client, signs in and out."""

from health_hub.demo.accounts import password
from tests.clients.conftest import Run, Signed

LOGIN = "benhnhan.demo"


def test_openid_client(signed: Signed, node: Run) -> None:
    assert "passed" in node("openid_client.mjs", signed.base, "demo-app", LOGIN, password(LOGIN))
