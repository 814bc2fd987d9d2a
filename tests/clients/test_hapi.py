"""HAPI's Java client with the strict parser: an unknown or misplaced element in any answer fails it."""

import pytest

from tests.clients.conftest import Run


@pytest.mark.parametrize("encoding", ["json", "xml"])
def test_hapi_client(base: str, java: Run, encoding: str) -> None:
    assert "checks" in java("HapiClient.java", base, encoding)
