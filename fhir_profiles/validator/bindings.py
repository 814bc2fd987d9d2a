"""Required bindings (R4 terminologies.html#required): codes from the value set and from nowhere else."""

import re
from collections.abc import Callable
from typing import Any

from fhir_profiles.tables import value_set_systems
from fhir_profiles.validator.primitives import code as plain_code
from fhir_profiles.validator.problems import At, Check, Run, Wrong, shown

# Value sets that are too large to list, by the form of their codes.
_FORMS: dict[str, Callable[[str], Any]] = {
    # BCP 13 types, and the short forms (`json`) that R4 itself uses where it binds to this set.
    "http://hl7.org/fhir/ValueSet/mimetypes": re.compile(r"[A-Za-z0-9!#$&^_.+-]+(/[A-Za-z0-9!#$&^_.+*-]+)?(\s*;.*)?").fullmatch,
    "http://hl7.org/fhir/ValueSet/currencies": re.compile(r"[A-Z]{3}").fullmatch,
}
_SYSTEMS = {"http://hl7.org/fhir/ValueSet/ucum-units": "http://unitsofmeasure.org"}


def check_code(value_set: str) -> Check:
    """A check of a `code` bound to a value set."""
    systems = value_set_systems(value_set)
    if systems is None:
        form = _FORMS.get(value_set)
        return plain_code if form is None else _form_check(value_set, form)
    codes = frozenset().union(*systems.values())

    def check(value: Any) -> Wrong | None:
        if type(value) is str and value in codes:
            return None
        return plain_code(value) or ("code-invalid", f"{shown(value)} is not a code of {value_set}{_some(codes)}")

    return check


def _form_check(value_set: str, form: Callable[[str], Any]) -> Check:
    def check(value: Any) -> Wrong | None:
        return plain_code(value) or (None if form(value) else ("code-invalid", f"{shown(value)} is not a code of {value_set}"))

    return check


def _some(codes: frozenset[str]) -> str:
    return f": {', '.join(sorted(codes))}" if len(codes) <= 20 else ""


def check_concept(value_set: str) -> Callable[[Any, At, Run], None] | None:
    """A check of a CodeableConcept bound to a value set: one of its codings is in it."""
    systems = value_set_systems(value_set)
    if systems is None:
        only = _SYSTEMS.get(value_set)
        if only is None:
            return None
        systems = {only: frozenset()}

    def check(value: Any, at: At, run: Run) -> None:
        codings = value.get("coding")
        if type(codings) is not list:
            # Only an extension (say, data-absent-reason) excuses a concept without a code.
            if "extension" not in value:
                run.add("code-invalid", f"a code of {value_set} is required here", at)
            return
        for coding in codings:
            if type(coding) is dict:
                system, code = coding.get("system"), coding.get("code")
                if type(system) is str and type(code) is str:
                    codes = systems.get(system)
                    if codes is not None and (code in codes or not codes):
                        return
        run.add("code-invalid", f"none of the codings is of {value_set}{_list(systems)}", at, "coding")

    return check


def _list(systems: dict[str, frozenset[str]]) -> str:
    pairs = sorted(f"{s}|{c}" for s, codes in systems.items() for c in codes)
    return f": {', '.join(pairs)}" if 0 < len(pairs) <= 20 else ""
