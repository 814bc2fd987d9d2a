"""npm clients: fhir-kit-client, fhirclient (SMART) and Medplum's."""

import pytest

from tests.clients.conftest import Run


@pytest.mark.parametrize("script", ["fhir_kit_client.mjs", "fhirclient.mjs", "medplum.mjs"])
def test_npm_client(base: str, node: Run, script: str) -> None:
    assert "passed" in node(script, base)
