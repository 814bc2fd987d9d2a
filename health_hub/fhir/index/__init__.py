"""Search keys of a resource, and where search finds them (R4 search.html; docs/architecture.md, "Keys").

`extract(resource)` gives the Rows of one resource; `plan(type, code)` says how a parameter is stored, so that the SQL can be made from it.
`p` is always `keys.parameter(type, code)`, `^` is XOR, hashes come from `keys.value(form, text)`; `forms` makes the texts, for both sides.

KEYS  (Rows.keys)
    every resource            parameter(type, "_type") ^ value("p", "")
    a parameter with a value  p ^ value("p", "")   every Direct, for :missing; Restricted: p ^ value("T", type) of any target
    token                     p ^ value(form, text) of `forms.token(system, code, folded=plan.folded)`:
        Coding, CodeableConcept   c; t and s with a system, n without
        Identifier                the same of system and value, and o `system|code|value` for every coding of its type (forms.of_type)
        code                      c; t with the system of the required binding (each, if the code is in several), n if there is none
        boolean                   c `true`; t with http://terminology.hl7.org/CodeSystem/special-values
        ContactPoint              c; t with `use` (R4's table) and with `system` (what clients send), n if it has neither
        string, uri, id, ...      c and n
      folded (Direct.folded): parameters of nothing but Coding, CodeableConcept, code, boolean and ContactPoint compare without case
      ("when in doubt, servers SHOULD treat tokens in a case-insensitive manner"); those that meet an Identifier, string, uri or id
      compare exactly, because a conditional update must not take MRN `aB1` for `Ab1`.
    reference                 p ^ reference("Type/id")  of a local reference, also of one to a version or with the own base URL (set_base)
                              p ^ reference(url)        of any other URL, urn: too; of a canonical without its version
                              p ^ value("v", "url|version")  of a canonical with a version
                              p ^ value("T", type)      the type it points to, if Direct.typed: from URL, Reference.type or contained
                              nothing but present and T for `#contained`. A resource (Bundle?composition) counts as the reference `Type/id`.
        :identifier           p' ^ token forms, p' = parameter(type, code + ":identifier"), not folded
    uri                       p ^ value("u", uri), whole; of a canonical without its version, and p ^ value("v", "url|version")  (forms.uri)
    string :exact             p ^ value("e", keys.exact(text)), of every string, part of a HumanName or part of an Address
    composite, only keys      p ^ value("x", text), text = form1 + text1 + "$" + form2 + text2 ... (forms.composite), every combination of
                              the token forms of its parts; a reference part is "r" + target, a uri part "u" + uri
    compartments              parameter(type, "_compartment") ^ reference("Patient/x")  also Encounter, Practitioner, RelatedPerson, Device
                              from the CompartmentDefinitions; a resource is in its own compartment
    _text, _content           parameter(type, "_text") ^ value("w", word): words of the narrative;
                              parameter(type, "_content") ^ value("w", word): words of all other strings,
                              markdown and contained narratives that are not in the narrative.
                              `words(text)` splits. At most WORDS each.
    _tag _security _profile _source   like any token and uri parameter, under the resource's type
    _id _lastUpdated _type    columns; no keys

ORDERED ROWS  bit 0 of flags (SMALLEST): the row an ascending sort goes by, one for each p in a resource; bit 1 (LARGEST): the descending.
    Smallest by `low` (text for strings), largest by `high`.
    dates       (p, low, high, flags)  microseconds since 1970 UTC, both inclusive; open ends of a Period are MICROSECOND_MIN and
                MICROSECOND_MAX of search.query. A Timing is its outer limits. Dates without offset are in the zone of `set_zone`.
    numbers     (p, low, high, flags)  floats, low == high except for a Range; open ends are NUMBER_MIN and NUMBER_MAX (finite)
    quantities  (p, low, high, code, unit, canon, clow, chigh, flags)  Quantity, Age, Money, Range, SampledData (lowest to highest point).
                A comparator opens an end: `<5` is NUMBER_MIN to 5.
                code = value("c", code), unit = value("c", unit), canon = hash of the canonical unit (forms.unit(system, code)), 0 if
                there is none; clow, chigh = low, high in that unit (forms.in_canonical), equal to low, high where canon is 0.
                `5.4`: low, high.  `5.4||mg`: low, high and (code = h or unit = h).  `5.4|system|mg`: clow, chigh and canon; so
                `system|code` needs no column: a unit that UCUM does not know is its own canonical unit. Money: urn:iso:std:iso:4217.
    strings     (p, folded text, flags)  every string, HumanName part and text, Address part and text; prefix match. Also
                p = parameter(type, code + ":text"): the texts a token parameter's :text searches (CodeableConcept.text, Coding.display,
                Identifier.type.text), and p of a uri parameter: the raw uri without version, NOT folded, for :above and :below.
    positions   (p, latitude, longitude)  Location?near

PLANS  `plan(type, code)`, or `plan_of(type, search_param)`; KeyError for a parameter that the type does not have.
    Direct      as above.
    Restricted  (of, targets): `patient` is the part of `subject` that points to a Patient. Match by of.p; a value with a type other than
                `targets` finds nothing; a bare id is tried with each of `targets`.
    Union       (of): any of them: combo-code is code or component-code. A sort takes the smallest SMALLEST or largest LARGEST row.
    Composite   rooted: AND of parts on one resource, each by its own plan; for a part with `apart`, rows with the flag APART do not count.
                not rooted, no ordered part (every part token, reference or uri): the x keys above.
                not rooted, ordered parts (date, number, quantity, string): side rows with p' = p ^ value("x", text) ^ k; text is of the
                    exact parts, "" if there are none; k is 0 for the first ordered part, 1 for the next, ...
                one ordered part: an ordinary test of p'. Several: rows of p', p' ^ 1, ... of one element share `flags >> ORDINAL`.
    Column, Words, Age, Elsewhere   see their docstrings in model.py.

Added parameters: `add(search_param)` and `remove(search_param)` at run time; `fingerprint()` changes with the definitions, so the store
knows when to reindex. `references(resource, param)` are targets for _include, `all_references(resource)` every reference in it.
What is invalid in a resource is left out, never an error: the validator has spoken before.
"""

from fhir_profiles.tables import SearchParam
from health_hub.fhir.index import forms
from health_hub.fhir.index.extraction import extract
from health_hub.fhir.index.fulltext import WORDS, words
from health_hub.fhir.index.model import (
    APART,
    LARGEST,
    NUMBER_MAX,
    NUMBER_MIN,
    ORDINAL,
    SMALLEST,
    Age,
    Column,
    Composite,
    Direct,
    Elsewhere,
    Part,
    Plan,
    Restricted,
    Rows,
    Union,
    Words,
)
from health_hub.fhir.index.plans import plans as _plans
from health_hub.fhir.index.plans import single
from health_hub.fhir.index.registry import add, added, fingerprint, params, remove, vet
from health_hub.fhir.index.settings import set_base, set_zone
from health_hub.fhir.index.settings import the_zone as zone
from health_hub.fhir.index.targets import all_references, references


def plan(resource_type: str, code: str) -> Plan:
    """How a parameter of a type is stored. KeyError if the type has no such parameter."""
    return _plans(resource_type).plans[code]


def plan_of(resource_type: str, param: SearchParam) -> Plan:
    """The same by definition."""
    return plan(resource_type, param.code)


__all__ = [
    "APART",
    "LARGEST",
    "NUMBER_MAX",
    "NUMBER_MIN",
    "ORDINAL",
    "SMALLEST",
    "WORDS",
    "Age",
    "Column",
    "Composite",
    "Direct",
    "Elsewhere",
    "Part",
    "Plan",
    "Restricted",
    "Rows",
    "Union",
    "Words",
    "add",
    "added",
    "all_references",
    "extract",
    "fingerprint",
    "forms",
    "params",
    "plan",
    "plan_of",
    "references",
    "remove",
    "set_base",
    "set_zone",
    "single",
    "vet",
    "words",
    "zone",
]
