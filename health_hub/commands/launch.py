"""`health-hub launch`: a SMART `launch` value, as a hospital's own system makes one when a person opens an application on a patient."""

import argparse
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from health_hub.commands.authority import Shown, run

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    p = commands.add_parser("launch", parents=[shared], help="a SMART launch value", description=__doc__)
    p.add_argument("--client", required=True, metavar="ID", help="client_id of the application")
    p.add_argument("--user", required=True, metavar="LOGIN", help="who launches it")
    p.add_argument("--patient", metavar="ID", help="id of the Patient that is open")
    p.add_argument("--encounter", metavar="ID", help="id of the Encounter that is open")
    p.add_argument("--intent", metavar="WORD", help="what it is launched for, e.g. reconcile-medications")
    p.add_argument("--style-url", metavar="U", help="smart_style_url: how the system around it looks")
    p.add_argument("--no-banner", action="store_true", help="the system around it shows the patient's name already")
    p.add_argument("--json", action="store_true", help="print JSON")
    p.set_defaults(run=run, work=_launch)


async def _launch(authority: "Authority", args: argparse.Namespace) -> Shown:
    from health_hub.auth.launch import Launch, create

    client = await authority.clients.get(args.client)
    if client is None or not client.enabled:
        raise ValueError(f"there is no application {args.client}")
    account = await authority.accounts.by_login(args.user)
    if account is None or not account.enabled:
        raise ValueError(f"there is no account {args.user}")
    value = await create(
        authority.store.records,
        Launch(client.id, account.id, args.patient, args.encounter, not args.no_banner, args.intent, args.style_url),
    )
    if client.launch_uri is None:
        return {"launch": value}
    url = client.launch_uri + ("&" if "?" in client.launch_uri else "?") + urlencode({"iss": authority.audience, "launch": value})
    return {"launch": value, "url": url}
