"""Signing out at an application's wish (OpenID Connect RP-Initiated Logout 1.0): never elsewhere than to an address it registered,
never without the person's word unless the application shows an id_token of theirs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from health_hub.auth import jose
from health_hub.auth.audit import AuthEvent
from health_hub.auth.model import Client, Session

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority

TOKEN_MAX, STATE_MAX = 8192, 1000  # characters


@dataclass(frozen=True, slots=True)
class LogoutPlan:
    """confirm: ask the person first (with a form that only our page can send). redirect: where to go when done; None: our own page.

    client: whose wish it is, where that is certain or at least registered; for the page's words only.
    """

    confirm: bool
    redirect: str | None
    client: Client | None = None


async def plan(authority: "Authority", params: Mapping[str, str], session: Session | None) -> LogoutPlan:
    """What a request to /auth/logout leads to. session: who is signed in in the browser. Changes nothing."""
    given = params.get("id_token_hint", "")
    said = await _hinted(authority, given) if given else None
    id = params.get("client_id", "")
    client = None
    if said is not None:
        named = _audience(said)
        client = await authority.clients.get(named) if named and id in ("", named) else None
    elif not given and id:
        client = await authority.clients.get(id)
    if client is not None and not client.enabled:
        client = None
    redirect = None
    wanted, state = params.get("post_logout_redirect_uri", ""), params.get("state", "")
    if client is not None and wanted in client.post_logout_redirect_uris and len(state) <= STATE_MAX:
        query = urlencode({"state": state}) if state else ""
        redirect = wanted + (("&" if "?" in wanted else "?") + query if query else "")
    own = said is not None and client is not None and (session is None or _is_of(said, session))
    return LogoutPlan(not own, redirect, client)


async def carry_out(authority: "Authority", planned: LogoutPlan, session: Session | None, address: str = "") -> str | None:
    """Ends the session, and with it (Sessions.ended) what applications hold only while it lasts; where to go then.

    The caller has asked the person where `planned.confirm` says so, and deletes the cookie.
    """
    if session is not None:
        await authority.sessions.end(session)
        client = planned.client.id if planned.client else None
        await authority.audit(AuthEvent("sign-out", session.account, client, address))
    return planned.redirect


async def _hinted(authority: "Authority", token: str) -> dict[str, Any] | None:
    """What an id_token of ours says, an expired one too (RP-Initiated Logout 2); None: it is none."""
    try:
        head = jose.header(token, TOKEN_MAX)
        if str(head.get("typ", "JWT")).upper() != "JWT":
            return None  # an access token is no id_token (RFC 8725 3.11)
        key = authority.keys.get(head.get("kid", ""))
        if key is None:
            await authority.keys.look()
            key = authority.keys.get(head.get("kid", ""))
        if key is None or head["alg"] != key.alg:
            return None
        said = jose.verify(token, key.key, key.alg)
    except jose.Malformed:
        return None
    return said if said.get("iss") == authority.issuer and isinstance(said.get("sub"), str) else None


def _audience(said: dict[str, Any]) -> str | None:
    """The one client an id_token is for."""
    aud = said.get("aud")
    if isinstance(aud, list):
        aud = aud[0] if len(aud) == 1 else said.get("azp") if said.get("azp") in aud else None
    return aud if isinstance(aud, str) else None


def _is_of(said: dict[str, Any], session: Session) -> bool:
    """Whether an id_token was given to who is signed in here (and, where it names one, in this session)."""
    return bool(said["sub"] == session.account) and said.get("sid", session.id) == session.id
