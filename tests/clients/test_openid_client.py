"""npm openid-client, a certified OpenID client, signs in and out."""

from pathlib import Path

import pytest

from bench.processes import Hub
from health_hub.demo.accounts import password
from tests.clients.conftest import Run, Signed

LOGIN = "benhnhan.demo"


def test_openid_client(signed: Signed, node: Run) -> None:
    assert "passed" in node("openid_client.mjs", signed.base, "demo-app", LOGIN, password(LOGIN))


def test_openid_client_where_every_proof_needs_a_nonce(node: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9449 8 and 9: from the token endpoint, userinfo and the API it learns the nonce, and tries again."""
    monkeypatch.setenv("HEALTH_HUB_DPOP_NONCE", "true")
    hub = Hub(f"sqlite:///{tmp_path}/hub.db", None, "--demo", auth=True)
    try:
        assert "passed" in node("openid_client.mjs", f"http://127.0.0.1:{hub.port}/fhir", "demo-app", LOGIN, password(LOGIN))
    finally:
        hub.stop()
        hub.log.close()
