"""`health-hub token`: an access token for a try with curl: of a system, or with --user of a person."""

import argparse
from typing import TYPE_CHECKING, Any

from health_hub.commands.authority import Shown, run

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority
    from health_hub.auth.model import Account, Client


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    p = commands.add_parser("token", parents=[shared], help="an access token", description=__doc__)
    p.add_argument("--client", required=True, metavar="ID", help="client_id of an application")
    p.add_argument("--scope", required=True, metavar="S", help="scopes, of those the application may ask for")
    p.add_argument("--user", metavar="LOGIN", help="whose; without it the application's own")
    p.add_argument("--patient", metavar="ID", help="id of the Patient in context")
    p.add_argument("--organization", metavar="REF", help="Organization/ID the person acts for, where they have several")
    p.add_argument("--json", action="store_true", help="print JSON")
    p.set_defaults(run=run, work=_token)


async def _token(authority: "Authority", args: argparse.Namespace) -> Shown:
    from health_hub.auth import scopes
    from health_hub.auth.audit import AuthEvent

    client = await authority.clients.get(args.client)
    if client is None or not client.enabled:
        raise ValueError(f"there is no application {args.client}")
    if args.user is None and "client_credentials" not in client.grant_types:
        raise ValueError("the application has no access of its own: --user LOGIN")
    scope = scopes.grant(
        args.scope, client.scope, authority.restriction_ok, scopes.SYSTEMS if args.user is None else scopes.PERSONS
    )
    if not scope:
        raise ValueError(f"the application may have nothing of this scope; it may ask for: {client.scope}")
    if args.user is None:
        token, claims = authority.tokens.issue(
            subject=client.id, client=client.id, role="system", scope=scope, name=client.client_name, organization=client.organization,
            labels=client.labels,
        )  # fmt: skip
    else:
        token, claims = await _of_person(authority, client, scope, args)
    await authority.audit(AuthEvent("token", None if args.user is None else claims.subject, client.id, detail=f"command line: {scope}"))
    return {"access_token": token, "expires_in": claims.expires - claims.issued, "scope": scope} if args.json else {"access_token": token}


async def _of_person(authority: "Authority", client: "Client", scope: str, args: argparse.Namespace) -> Any:
    account = await authority.accounts.by_login(args.user)
    if account is None or not account.enabled:
        raise ValueError(f"there is no account {args.user}")
    organization = await _facility(authority, account, args.organization)
    patient = args.patient or ((account.fhir_user or "").partition("/")[2] if account.role == "patient" else None)
    if args.patient and not await authority.may_see(account, organization, args.patient):
        raise ValueError(f"{args.user} may not see Patient/{args.patient}, or there is none")
    return authority.tokens.issue(
        subject=account.id, client=client.id, role=account.role, scope=scope, fhir_user=account.fhir_user, name=account.name,
        organization=organization, labels=account.labels, patient=patient,
    )  # fmt: skip


async def _facility(authority: "Authority", account: "Account", wanted: str | None) -> str | None:
    from health_hub.auth.signin import FOR_FACILITY

    if account.role not in FOR_FACILITY:
        return None
    own = [f.reference for f in await authority.facilities(account)]
    if wanted is not None and wanted not in own:
        raise ValueError(f"{account.login} does not belong to {wanted}")
    if wanted is None and len(own) > 1:
        raise ValueError(f"--organization is one of {', '.join(own)}")
    return wanted or next(iter(own), None)
