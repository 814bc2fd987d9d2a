"""Who a patient is, for whoever may see them."""

from typing import Any

from health_hub.auth.authority import Person
from health_hub.fhir.json import loads
from health_hub.web.site import Signed, Site


async def patient(site: Site, signed: Signed, id: str) -> Person | None:
    """None where the person signed in may not see them."""
    if not await site.authority.may_see(signed.account, signed.session.organization, id):
        return None
    found = await site.authority.store.view().read("Patient", id)
    if found is None or found.deleted:
        return None
    resource = loads(found.doc or b"{}")
    return Person(id, _name(resource), str(resource.get("birthDate") or ""), str(resource.get("gender") or ""))


def _name(resource: dict[str, Any]) -> str:
    """As written: `text`, or family and given in the Vietnamese order."""
    names = resource.get("name")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], dict) else {}
    given = name.get("given")
    return str(name.get("text") or " ".join([str(name.get("family") or ""), *map(str, given if isinstance(given, list) else ())]).strip())
