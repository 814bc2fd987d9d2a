"""`health-hub client`, `launch`, `token` and `keys`."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from health_hub.auth.authority import Authority
from health_hub.auth.launch import find
from health_hub.auth.model import Claims
from health_hub.cli import main
from health_hub.settings import Settings
from health_hub.store.store import Store
from tests.auth.hub import PASSWORD

Program = Callable[..., Any]


@pytest.fixture
def program(database_url: str, capsys: pytest.CaptureFixture[str]) -> Program:
    def run(*words: str, status: int = 0) -> Any:
        assert main([*words, "--db", database_url, "--json"]) == status
        out, err = capsys.readouterr()
        return json.loads(out) if status == 0 else err

    return run


@pytest.fixture
def account(program: Program, monkeypatch: pytest.MonkeyPatch) -> str:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
    program("user", "add", "bn.hoa", "--role", "patient", "--fhir-user", "Patient/bn-001", "--password-stdin")
    return "bn.hoa"


def with_authority(url: str, work: Callable[[Authority], Any]) -> Any:
    async def run() -> Any:
        store = await Store.open(url)
        try:
            authority = Authority(store, Settings.load({}))
            await authority.keys.load()
            return await work(authority)
        finally:
            await store.close()

    return asyncio.run(run())


def test_an_application_is_added_listed_closed_and_opened(program: Program, database_url: str) -> None:
    made = program("client", "add", "Sổ sức khoẻ", "--grant", "authorization_code", "--redirect-uri", "https://app.example.vn/cb",
                   "--scope", "openid patient/*.rs", "--scope", "offline_access", "--launch-uri", "https://app.example.vn/go")  # fmt: skip
    assert made.keys() == {"client_id", "client_secret"}
    [listed] = program("client", "list")
    assert listed["client_id"] == made["client_id"]
    assert listed["scope"] == "openid patient/*.rs offline_access"
    assert listed["grant_types"] == ["authorization_code", "refresh_token"]
    assert listed["token_endpoint_auth_method"] == "client_secret_basic"
    assert not {"secret", "client_secret"} & listed.keys()
    assert program("client", "disable", made["client_id"])["enabled"] is False
    assert program("client", "list")[0]["enabled"] is False
    assert program("client", "enable", made["client_id"])["enabled"] is True

    async def kept(a: Authority) -> bool:
        return made["client_secret"] in str(await a.store.records.page("client"))

    assert not with_authority(database_url, kept)


def test_a_system_is_added_with_its_keys(program: Program, tmp_path: Path) -> None:
    key = ECKey.generate_key("P-384", parameters={"kid": "1"})
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    words = ("client", "add", "HIS", "--grant", "client_credentials", "--jwks", str(path), "--scope", "system/*.cruds")
    assert program(*words).keys() == {"client_id"}
    path.write_text(json.dumps({"keys": [key.as_dict(private=True)]}))
    assert "public" in program(*words, status=2)


@pytest.mark.parametrize("words", [
    ("--grant", "authorization_code"), ("--grant", "authorization_code", "--redirect-uri", "http://app.example.vn/cb"),
    ("--grant", "authorization_code", "--redirect-uri", "https://app.example.vn/cb#x"), ("--grant", "client_credentials"),
    ("--grant", "client_credentials", "--scope", "system/*.rs", "--public"), ("--grant", "device", "--scope", "system/*.rs"),
    ("--grant", "device", "--scope", "patient/Unheard.rs"), ("--grant", "device", "--public", "--auth-method", "client_secret_basic"),
    ("--grant", "device", "--auth-method", "private_key_jwt"), ("--grant", "device", "--jwks", "/nowhere"),
    ("--grant", "client_credentials", "--scope", "system/*.rs", "--organization", "Organization/none"),
    ("--grant", "client_credentials", "--scope", "system/*.rs", "--jwks-uri", "http://169.254.169.254/"),
])  # fmt: skip
def test_what_can_be_no_application_is_said_and_not_added(program: Program, words: tuple[str, ...]) -> None:
    assert program("client", "add", "X", *words, status=2).startswith("health-hub: ")
    assert program("client", "list") == []


def test_a_launch_value_is_for_the_application_and_the_person(program: Program, account: str, database_url: str) -> None:
    id = program("client", "add", "App", "--grant", "authorization_code", "--public", "--redirect-uri", "https://a.vn/cb", "--launch-uri",
                 "https://a.vn/launch")["client_id"]  # fmt: skip
    made = program("launch", "--client", id, "--user", account, "--patient", "bn-001", "--encounter", "e-1", "--no-banner")
    assert made["url"].startswith("https://a.vn/launch?iss=http%3A%2F%2F127.0.0.1%3A8080%2Ffhir&launch=")

    async def read(a: Authority) -> Any:
        return (await find(a.store.records, made["launch"], id))[1]

    found = with_authority(database_url, read)
    assert (found.patient, found.encounter, found.need_patient_banner) == ("bn-001", "e-1", False)
    for words in (("--client", "none", "--user", account), ("--client", id, "--user", "khong.co"),
                  ("--client", id, "--user", account, "--encounter", "e-1")):  # fmt: skip
        assert program("launch", *words, status=2)


def test_a_token_is_what_application_and_person_may_have(program: Program, account: str, database_url: str) -> None:
    app = program("client", "add", "App", "--grant", "authorization_code", "--public", "--redirect-uri", "https://a.vn/cb", "--scope",
                  "openid patient/*.rs")["client_id"]  # fmt: skip
    system = program("client", "add", "HIS", "--grant", "client_credentials", "--scope", "system/*.rs")["client_id"]

    def read(token: str) -> Claims:
        async def verify(a: Authority) -> Claims:
            return a.tokens.verify(token)

        found: Claims = with_authority(database_url, verify)
        return found

    made = program("token", "--client", app, "--user", account, "--scope", "patient/Observation.cruds user/*.rs")
    assert made["scope"] == "patient/Observation.rs"
    claims = read(made["access_token"])
    assert (claims.role, claims.patient, claims.client) == ("patient", "bn-001", app)
    claims = read(program("token", "--client", system, "--scope", "system/Patient.rs")["access_token"])
    assert (claims.role, claims.subject) == ("system", system)
    for words in (("--client", app, "--scope", "patient/*.rs"), ("--client", system, "--scope", "user/*.rs"),
                  ("--client", app, "--scope", "user/*.rs", "--user", account), ("--client", "x", "--scope", "patient/*.rs"),
                  ("--client", app, "--scope", "patient/*.rs", "--user", account, "--patient", "bn-002")):  # fmt: skip
        assert program("token", *words, status=2)


def test_keys_are_rotated_and_the_old_ones_stay_a_while(program: Program) -> None:
    before = program("keys", "list")
    made = program("keys", "rotate")
    assert len(made) == len(before) == 2
    after = {k["kid"]: k for k in program("keys", "list")}
    assert {k["kid"] for k in [*before, *made]} == after.keys()
    assert all(after[k["kid"]]["published_until"] for k in before)
