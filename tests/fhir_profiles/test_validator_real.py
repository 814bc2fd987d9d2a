"""Real resources are valid, or refused for a reason that was looked at by hand."""

from collections import Counter

from fhir_profiles.validator import validate
from tests.fhir_profiles import definitions

# The package's own mistakes: file -> (expression, start of the message).
REALLY_WRONG = {
    # Stubs for extensions, without the base that 4.0.1 requires.
    **{
        f"SearchParameter-{kind}-extensions-{name}-{code}.json": ("SearchParameter.base", "base is required")
        for kind, name in (("codesystem", "CodeSystem"), ("valueset", "ValueSet"))
        for code in ("author", "effective", "end", "keyword", "workflow")
    },
    # 69 characters.
    "SearchParameter-questionnaireresponse-extensions-QuestionnaireResponse-item-subject.json": ("SearchParameter.id", "'questionnaire"),
    # Logical models that are not abstract and have no base.
    **{
        f"StructureDefinition-{name}.json": ("StructureDefinition", "sdf-4")
        for name in ("Definition", "Event", "FiveWs", "Request")
    },
}  # fmt: skip


def test_the_official_package_is_valid_but_for_its_known_mistakes() -> None:
    found = {}
    count = 0
    for name, resource in definitions.package():
        count += 1
        problems = validate(resource)
        if problems:
            assert len(problems) == 1, (name, problems)
            found[name] = problems[0]
    assert count > 4500
    assert set(found) == set(REALLY_WRONG)
    for name, (expression, message) in REALLY_WRONG.items():
        assert found[name].expression == expression
        assert found[name].message.startswith(message)


def test_synthea_bundles_are_valid() -> None:
    types: Counter[str] = Counter()
    for bundle in definitions.synthea_bundles():
        assert validate(bundle) == []
        types.update(e["resource"]["resourceType"] for e in bundle["entry"])
    assert types.total() > 18000
    assert len(types) >= 15


def test_synthea_bulk_lines_are_valid() -> None:
    count = 0
    for resource in definitions.synthea_lines():
        assert validate(resource) == []
        count += 1
    assert count > 5900
