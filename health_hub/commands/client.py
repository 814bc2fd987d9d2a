"""`health-hub client`: applications that may ask for access: add, list, disable and enable them."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from health_hub.auth.model import AuthMethod, Client, Grant
from health_hub.commands.authority import Shown, Work, run

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority

GRANTS: dict[str, tuple[Grant, ...]] = {
    "authorization_code": ("authorization_code", "refresh_token"),
    "client_credentials": ("client_credentials",),
    "device": ("urn:ietf:params:oauth:grant-type:device_code", "refresh_token"),
}
METHODS: tuple[AuthMethod, ...] = get_args(AuthMethod)


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    p = commands.add_parser("client", help="applications", description=__doc__)
    steps = p.add_subparsers(metavar="STEP", required=True)

    def step(name: str, help: str, work: Work) -> argparse.ArgumentParser:
        s: argparse.ArgumentParser = steps.add_parser(name, parents=[shared], help=help, description=f"`health-hub client {name}`: {help}.")
        s.add_argument("--json", action="store_true", help="print JSON")
        s.set_defaults(run=run, work=work)
        return s

    s = step("add", "register an application; prints its client_id and, once, its client_secret", _add)
    s.add_argument("name", metavar="NAME", help="as people are shown it")
    s.add_argument("--grant", action="append", required=True, choices=tuple(GRANTS), help="how it gets access; may be repeated")
    s.add_argument("--auth-method", choices=METHODS, metavar="METHOD", help=f"how it proves who it is: {', '.join(METHODS)} "
                   "(default: private_key_jwt with keys, none with --public, else client_secret_basic)")  # fmt: skip
    s.add_argument("--public", action="store_true", help="it can keep no secret: an application in a browser or on a device")
    s.add_argument("--scope", action="append", default=[], metavar="S", help="scopes it may ask for; may be repeated")
    s.add_argument("--redirect-uri", action="append", default=[], metavar="U", help="where codes may be sent; may be repeated")
    s.add_argument("--post-logout-redirect-uri", action="append", default=[], metavar="U", help="where signing out may lead; repeatable")
    s.add_argument("--organization", metavar="REF", help="Organization/ID that a system acts for (default: the province)")
    s.add_argument("--label", action="append", default=[], metavar="CODE", help="sensitive label a system may see; may be repeated")
    s.add_argument("--jwks", metavar="FILE", help="its public keys, a JWK Set")
    s.add_argument("--jwks-uri", metavar="U", help="where its public keys are fetched from")
    s.add_argument("--launch-uri", metavar="U", help="where it is launched")
    s.add_argument("--dpop", action="store_true", help="its access tokens are bound to its key (RFC 9449)")
    s = step("disable", "close an application; what it holds ends", _disable)
    s.add_argument("client", metavar="ID", help="client_id")
    s = step("enable", "open an application again", _enable)
    s.add_argument("client", metavar="ID", help="client_id")
    step("list", "list the applications", _list)


async def _add(authority: "Authority", args: argparse.Namespace) -> Shown:
    grants = tuple(dict.fromkeys(g for name in args.grant for g in GRANTS[name]))
    method: AuthMethod = args.auth_method or (
        "private_key_jwt" if args.jwks or args.jwks_uri else "none" if args.public else "client_secret_basic"
    )
    client = Client(
        id="", client_name=_name(args.name), grant_types=grants, token_endpoint_auth_method=method, scope=_scope(args, grants),
        redirect_uris=_uris(args.redirect_uri), post_logout_redirect_uris=_uris(args.post_logout_redirect_uri),
        organization=args.organization, labels=tuple(args.label), jwks=_jwks(args.jwks) if args.jwks else None, jwks_uri=args.jwks_uri,
        launch_uri=next(iter(_uris([args.launch_uri] if args.launch_uri else [])), None), dpop_bound_access_tokens=args.dpop,
    )  # fmt: skip
    await _check(authority, client, args)
    made, secret = await authority.clients.create(client)
    return {"client_id": made.id} | ({"client_secret": secret} if secret else {})


def _name(name: str) -> str:
    if not 0 < len(name) <= 80 or not name.isprintable():
        raise ValueError("a name has 1 to 80 characters")
    return name


def _scope(args: argparse.Namespace, grants: tuple[Grant, ...]) -> str:
    from health_hub.auth import scopes
    from health_hub.auth.registration import DEFAULT_SCOPE

    persons = set(grants) != {"client_credentials"}
    words = list(dict.fromkeys(w for text in args.scope for w in text.split())) or (DEFAULT_SCOPE.split() if persons else [])
    if not words:
        raise ValueError("a system is told what it may do: --scope 'system/*.rs'")
    for word in words:
        scope = scopes.one(word)
        if scope is None and word not in scopes.PLAIN:
            raise ValueError(f"{word} is no scope of this hub")
        if scope is not None and scope.context == "system" and "client_credentials" not in grants:
            raise ValueError(f"{word} is for --grant client_credentials")
    return " ".join(words)


def _uris(uris: list[str]) -> tuple[str, ...]:
    from health_hub.auth.redirects import wrong

    for uri in uris:
        if why := wrong(uri, native=True):
            raise ValueError(f"{uri}: {why}")
    return tuple(dict.fromkeys(uris))


def _jwks(path: str) -> dict[str, Any]:
    from health_hub.auth import jose

    try:
        found = json.loads(Path(path).read_bytes())
        keys = found["keys"]
        for key in keys:
            jose.public(key)
    except OSError as e:
        raise ValueError(f"{path}: {e.strerror}") from None
    except (ValueError, KeyError, TypeError) as e:
        raise ValueError(f"{path} is no JWK Set of public keys: {e}") from None
    return {"keys": keys}


async def _check(authority: "Authority", client: Client, args: argparse.Namespace) -> None:
    from health_hub.auth.fetch import FetchError

    if args.public and client.token_endpoint_auth_method != "none":
        raise ValueError("--public goes with --auth-method none")
    if "authorization_code" in client.grant_types and not client.redirect_uris:
        raise ValueError("--grant authorization_code needs --redirect-uri")
    if "client_credentials" in client.grant_types and client.token_endpoint_auth_method == "none":
        raise ValueError("--grant client_credentials needs a client that authenticates")
    if client.jwks is not None and client.jwks_uri is not None:
        raise ValueError("--jwks or --jwks-uri, not both")
    if (client.token_endpoint_auth_method == "private_key_jwt") != (client.jwks is not None or client.jwks_uri is not None):
        raise ValueError("--auth-method private_key_jwt goes with --jwks or --jwks-uri")
    if client.jwks_uri is not None:
        try:
            authority.fetch.check(client.jwks_uri)
        except FetchError as e:
            raise ValueError(f"--jwks-uri: {e}") from None
    if client.organization is not None:
        kind, _, id = client.organization.partition("/")
        found = await authority.store.view().read(kind, id) if kind == "Organization" and id else None
        if found is None or found.deleted:
            raise ValueError(f"there is no {client.organization} in the records")


async def _disable(authority: "Authority", args: argparse.Namespace) -> Shown:
    client = await authority.clients.change(_id(args), enabled=False)
    await authority.families.end_client(client.id)
    await authority.revoked.add(f"client/{client.id}")
    return {"client_id": client.id, "enabled": False}


async def _enable(authority: "Authority", args: argparse.Namespace) -> Shown:
    client = await authority.clients.change(_id(args), enabled=True)
    return {"client_id": client.id, "enabled": True}


def _id(args: argparse.Namespace) -> str:
    from health_hub.auth.ids import possible

    if not possible(args.client):
        raise LookupError(f"there is no application {args.client}")
    return str(args.client)


async def _list(authority: "Authority", args: argparse.Namespace) -> Shown:
    page = await authority.clients.all()
    found = [*page]
    while page:
        page = await authority.clients.all(page[-1].id)
        found += page
    hidden = ("id", "secret", "jwks")
    return [
        {"client_id": c.id} | {k: list(v) if isinstance(v, tuple) else v for k, v in c.data().items() if k not in hidden}
        for c in sorted(found, key=lambda c: (c.client_name, c.id))
    ]
