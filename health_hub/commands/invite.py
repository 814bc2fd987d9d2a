"""`health-hub invite`: a link by which a guest without an account comes into one consultation's waiting room."""

import argparse
from typing import TYPE_CHECKING, Any

from health_hub.commands.authority import Shown, run

if TYPE_CHECKING:
    from health_hub.auth.authority import Authority


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    p = commands.add_parser("invite", parents=[shared], help="a guest's link to a consultation", description=__doc__)
    p.add_argument("consultation", metavar="REF", help="Appointment/ID or Encounter/ID")
    p.add_argument("--name", required=True, metavar="NAME", help="what the guest is called in the room")
    p.add_argument("--role", default="interpreter", choices=("interpreter", "carer", "observer"), help="(default interpreter)")
    p.add_argument("--minutes", type=int, default=60, metavar="N", help="how long the link can be used, up to 1440 (default 60)")
    p.add_argument("--json", action="store_true", help="print JSON")
    p.set_defaults(run=run, work=_invite)


async def _invite(authority: "Authority", args: argparse.Namespace) -> Shown:
    from health_hub.auth.audit import AuthEvent
    from health_hub.consult import invites
    from health_hub.consult.who import KINDS, Closed, consultation
    from telemed.rooms.roles import Role

    kind, _, id = args.consultation.partition("/")
    found = consultation(await authority.store.view().read(kind, id)) if kind in KINDS and id else None
    if found is None:
        raise ValueError(f"there is no consultation {args.consultation}: an Appointment, or an Encounter of class VR")
    try:
        found.check_open(authority.settings)
    except Closed as e:
        if e.why == "over":
            raise ValueError(f"{args.consultation} is over") from None
    made = await invites.invite(authority.store, found, args.name, Role(args.role), "command line", args.minutes)
    await authority.audit(AuthEvent("token", None, detail=f"command line: invitation to {args.consultation}, {args.role} {args.name}"))
    url = f"{authority.issuer}{made.path}"
    return {"url": url, "until": made.until} if args.json else {"url": url}
