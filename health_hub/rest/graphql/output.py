"""The answer of a GraphQL query while it grows: objects whose fields collect values, also those that @flatten brings up."""

from typing import Any, Literal

from health_hub.fhir.outcome import FhirError, Issue

Status = Literal["one", "list", "singleton"]


class Slot:
    """The values of one field. `type` is that of the values, for what @flatten puts together."""

    __slots__ = ("status", "type", "values")

    def __init__(self, status: Status, type: str) -> None:
        self.status = status
        self.type = type
        self.values: list[Any] = []


class Output:
    """One object of the answer."""

    __slots__ = ("slots",)

    def __init__(self) -> None:
        self.slots: dict[str, Slot] = {}

    def slot(self, key: str, status: Status, type: str) -> Slot:
        """The field of that name. Values that come together under one name must be of one type."""
        found = self.slots.get(key)
        if found is None:
            found = self.slots[key] = Slot(status, type)
        elif found.type != type and type and found.type:
            raise FhirError(400, Issue("invalid", f"GraphQL: {key} would hold both {found.type} and {type}"))
        elif status == "list" and found.status == "one":
            found.status = "list"
        return found

    def plain(self) -> dict[str, Any]:
        """As JSON. A field that found nothing is left out, as FHIR leaves out what is empty."""
        out: dict[str, Any] = {}
        for key, slot in self.slots.items():
            values = [v.plain() if isinstance(v, Output) else v for v in slot.values]
            if slot.status == "list":
                out[key] = values
            elif len(values) == 1:
                out[key] = values[0]
            elif values and slot.status == "singleton":
                raise FhirError(400, Issue("invalid", f"GraphQL: {key} is marked @singleton and has {len(values)} values"))
            elif values:
                out[key] = _merged(values)
        return {key: value for key, value in out.items() if value != [] or self.slots[key].type == "match"}


def _merged(values: list[Any]) -> Any:
    """Several answers to one field that cannot repeat: the same field asked with different arguments."""
    if all(isinstance(v, dict) for v in values):
        return {k: v for value in values for k, v in value.items()}
    return values[0] if all(v == values[0] for v in values) else values
