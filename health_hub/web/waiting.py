"""The application that waits while a person signs in, where there is one."""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from health_hub.auth import authorize
from health_hub.auth.model import AuthError
from health_hub.web.site import Site, Visit, source

GO_ON = "/auth/continue"


@dataclass(frozen=True, slots=True)
class Waiting:
    """name: the application's, "" for none. login: whom it expects. form_action: where the answer to its request goes."""

    name: str = ""
    login: str = ""
    form_action: tuple[str, ...] = ()


def go_on(id: str) -> str:
    """Where an authorization under way goes on."""
    return f"{GO_ON}?" + urlencode({"id": id})


async def find(site: Site, visit: Visit, onward: str) -> Waiting:
    """onward: the path that the person goes to afterwards."""
    path, id = urlsplit(onward).path, parse_qs(urlsplit(onward).query).get("id", [""])[0]
    if path != GO_ON:
        return Waiting()
    try:
        pending = await authorize.load(site.authority, id, visit.browser)
        client = await authorize.client_of(site.authority, pending)
    except AuthError:
        return Waiting()
    return Waiting(client.client_name, pending.request.login_hint, source(pending.request.redirect_uri))
