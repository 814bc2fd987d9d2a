"""The search parameters of a type: those of R4 and those added at run time."""

import hashlib
import re
from collections.abc import Callable
from functools import cache

from fhir_profiles import tables
from fhir_profiles.fhirpath import Expression, FHIRPathError, compile_
from fhir_profiles.tables import SearchParam
from health_hub.fhir.index import settings
from health_hub.fhir.index.path import Branch, NoElement, Unsupported, branches
from health_hub.fhir.outcome import FhirError, Issue

# Raise it when extraction gives other rows for the same definitions: databases then ask for a reindex.
EXTRACTION = 3

# Steps that the FHIRPath of an added parameter may take on one resource; R4's own take none.
STEPS = 50_000

# Names beginning with _ are R4's (http.html#styleguide).
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")

_custom: dict[str, SearchParam] = {}
_on_change: list[Callable[[], None]] = []


def on_change(forget: Callable[[], None]) -> None:
    """Have `forget` called when parameters come or go."""
    _on_change.append(forget)


def _changed() -> None:
    params.cache_clear()
    by_url.cache_clear()
    _described.cache_clear()
    for forget in _on_change:
        forget()


def vet(param: SearchParam) -> None:
    """FhirError 422 if a parameter cannot be indexed: unknown base, code taken, an expression that is no FHIRPath or finds nothing."""
    known = tables.search_param_by_url(param.url)
    if known is not None:
        if (param.code, param.type, set(param.base)) != (known.code, known.type, set(known.base)):
            raise FhirError(422, Issue("business-rule", f"R4 defines {param.url} otherwise", ("SearchParameter.url",)))
        return
    issues = _problems(param)
    if issues:
        raise FhirError(422, issues)


def add(param: SearchParam) -> None:
    """Index a further parameter from now on. FhirError 422 if it cannot be (see vet); one of R4's own stays as R4 has it."""
    vet(param)
    if tables.search_param_by_url(param.url) is not None:
        return
    _custom[param.url] = param
    _changed()


def remove(param: SearchParam) -> None:
    """Forget an added parameter."""
    if _custom.pop(param.url, None):
        _changed()


def added() -> tuple[SearchParam, ...]:
    return tuple(_custom[url] for url in sorted(_custom))


def _problems(param: SearchParam) -> list[Issue]:
    found = []
    if not _CODE.fullmatch(param.code):
        why = f"{param.code[:70]!r} cannot stand in a URL as the name of a parameter: a letter, then letters, digits, '-' and '_'"
        found.append(Issue("value", why, ("SearchParameter.code",)))
    if param.type == "special":
        found.append(Issue("not-supported", "only R4's own parameters of type special are served", ("SearchParameter.type",)))
    if not param.base:
        found.append(Issue("required", "a search parameter needs a base", ("SearchParameter.base",)))
    for base in param.base:
        if not (tables.is_resource_type(base) or base in ("Resource", "DomainResource")):
            found.append(Issue("value", f"{base} is no resource type", ("SearchParameter.base",)))
            continue
        types = [t for t in tables.RESOURCE_TYPES if tables.is_a(t, base)]
        for name in types:
            other = params(name).get(param.code)
            if other and other.url != param.url:
                found.append(Issue("duplicate", f"{name} has a parameter {param.code} already: {other.url}", ("SearchParameter.code",)))
                break
    if not param.expression:
        found.append(Issue("required", "a search parameter needs an expression", ("SearchParameter.expression",)))
    for at, expression in enumerate((param.expression, *(e for _, e in param.components))):
        try:
            if expression:
                compile_(expression)
                if not at:
                    found += _unreachable(param)
        except FHIRPathError as e:
            where = f"SearchParameter.component[{at - 1}].expression" if at else "SearchParameter.expression"
            found.append(Issue("invalid", f"the expression is no FHIRPath: {e}", (where,)))
    for at, (url, _) in enumerate(param.components):
        if by_url(url) is None:
            found.append(Issue("not-found", f"{url} is no known search parameter", (f"SearchParameter.component[{at}].definition",)))
    if param.type == "composite" and not param.components:
        found.append(Issue("required", "a composite parameter needs components", ("SearchParameter.component",)))
    return found


def _unreachable(param: SearchParam) -> list[Issue]:
    """Bases on which the expression can find nothing, where the dialect is enough to tell."""
    found = []
    for base in param.base:
        if base in ("Resource", "DomainResource") or not tables.is_resource_type(base):
            continue
        try:
            if branches(param.expression, base):
                continue
            why = f"finds nothing on {base}"
        except NoElement as e:
            why = str(e)
        except Unsupported:
            continue
        found.append(Issue("invalid", f"the expression is of no use: {why}", ("SearchParameter.expression",)))
    return found


@cache
def params(resource_type: str) -> dict[str, SearchParam]:
    """Every parameter of a type by code."""
    found = dict(tables.search_params(resource_type))
    for param in _custom.values():
        if any(tables.is_a(resource_type, base) for base in param.base):
            found[param.code] = param
    return found


@cache
def by_url(url: str) -> SearchParam | None:
    return _custom.get(url) or tables.search_param_by_url(url)


def ways(param: SearchParam, resource_type: str) -> tuple[Branch, ...] | Expression:
    """How to find the values of a parameter: branches of the dialect, or FHIRPath for what the dialect cannot say."""
    try:
        return branches(param.expression, resource_type)
    except Unsupported:
        return compile_(param.expression, context_type=resource_type)


@cache
def _described(resource_type: str) -> bytes:
    """All that a type is indexed by. Kept: it takes most of a start to write it for every type."""
    return "".join(
        f"{resource_type} {code} {param.url} {param.type} {param.expression} {param.targets} {param.components}\n"
        for code, param in sorted(params(resource_type).items())
    ).encode()


def fingerprint(resource_type: str | None = None) -> str:
    """Changes whenever the same resource (of this type) would be indexed otherwise."""
    digest = hashlib.blake2b(f"{EXTRACTION} {settings.zone} {settings.base()}".encode(), digest_size=16)
    for name in (resource_type,) if resource_type else tables.RESOURCE_TYPES:
        digest.update(_described(name))
    return digest.hexdigest()
