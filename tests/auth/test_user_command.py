"""`health-hub user`."""

import asyncio
import io
import json
from typing import Any

import pyotp
import pytest

from health_hub.auth.external import External
from health_hub.cli import main
from health_hub.store.model import Change
from health_hub.store.store import Store
from tests.auth.hub import PASSWORD, caller, hub
from tests.auth.provider import ISSUER, Provider


class Program:
    def __init__(self, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.url, self.capsys, self.monkeypatch = url, capsys, monkeypatch
        self.err = ""

    def __call__(self, *words: str, stdin: str = "", status: int = 0) -> Any:
        self.monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        assert main(["user", *words, "--db", self.url, "--json"]) == status
        out, self.err = self.capsys.readouterr()
        return json.loads(out) if out else None


@pytest.fixture
def user(database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Program:
    return Program(database_url, capsys, monkeypatch)


def test_an_account_is_added_with_all_that_is_said(user: Program) -> None:
    made = user("add", "BS.Lan", "--role", "practitioner", "--fhir-user", "Practitioner/bs-01", "--organization", "Organization/a",
                "--label", "HIV", "--label", "PSY", "--password-stdin", stdin=PASSWORD + "\n")  # fmt: skip
    assert {k: made[k] for k in ("login", "role", "fhir_user", "organizations", "labels", "enabled")} == {
        "login": "bs.lan", "role": "practitioner", "fhir_user": "Practitioner/bs-01", "organizations": ["Organization/a"],
        "labels": ["HIV", "PSY"], "enabled": True,
    }  # fmt: skip
    assert "password" not in made
    assert "there is no Practitioner/bs-01" in user.err
    assert [a["login"] for a in user("list")] == ["bs.lan"]
    assert user("disable", "BS.LAN") == {"login": "bs.lan", "enabled": False}
    assert user("list")[0]["enabled"] is False
    assert user("password", "bs.lan")["login"] == "bs.lan", "a closed account's password can be changed, and stays closed"
    assert user("list")[0]["enabled"] is False
    assert user("enable", "bs.lan")["enabled"] is True


def test_a_carer_account_is_bound_when_its_record_is_there(user: Program) -> None:
    made = user("add", "me.lan", "--role", "carer", "--fhir-user", "RelatedPerson/me-01", "--password-stdin", stdin=PASSWORD + "\n")
    assert made["patient"] is None
    assert "user bind" in user.err

    async def record() -> None:
        store = await Store.open(user.url)
        related = {"resourceType": "RelatedPerson", "patient": {"reference": "Patient/be-01"}}
        await store.commit([Change("update", "RelatedPerson", "me-01", related)])
        await store.close()

    asyncio.run(record())
    assert user("bind", "me.lan") == {"login": "me.lan", "patient": "Patient/be-01"}
    assert user("list")[0]["patient"] == "Patient/be-01"


def test_without_a_terminal_the_password_is_random_and_printed_once(user: Program, database_url: str) -> None:
    made = user("add", "quan.tri", "--role", "administrator")
    assert len(made["password"]) == 23
    assert "password" not in user("list")[0]
    assert user("password", "quan.tri")["password"] != made["password"]


@pytest.mark.parametrize("words", [
    ("add", "a b", "--role", "auditor"), ("add", "lan", "--role", "patient"), ("add", "lan", "--role", "nurse", "--fhir-user", "Patient/1"),
    ("password", "khong.co"), ("totp", "khong.co"), ("disable", "khong.co"), ("enable", "\ud800"), ("link", "khong.co", "1"),
    ("bind", "khong.co"),
])  # fmt: skip
def test_what_cannot_be_is_said_and_status_2(user: Program, words: tuple[str, ...]) -> None:
    assert user(*words, status=2) is None
    assert user.err.startswith("health-hub: ")
    assert user("list") == []


def test_a_weak_password_is_refused_in_both_languages_and_no_account_is_made(user: Program) -> None:
    assert user("add", "lan", "--role", "auditor", "--password-stdin", stdin="matkhau123\n", status=2) is None
    assert "dễ đoán" in user.err
    assert "easy to guess" in user.err
    assert user("list") == []


def test_a_login_twice(user: Program) -> None:
    user("add", "lan", "--role", "auditor")
    user("add", "LAN", "--role", "auditor", status=2)
    assert "taken" in user.err


async def test_the_secret_printed_makes_codes_that_are_accepted(store: Store, database_url: str) -> None:
    import asyncio
    from contextlib import redirect_stdout

    def program(*words: str) -> dict[str, Any]:
        out = io.StringIO()
        with redirect_stdout(out):
            assert main(["user", *words, "--db", database_url, "--json"]) == 0
        answer: dict[str, Any] = json.loads(out.getvalue())
        return answer

    h, s = hub(store, external_issuer=ISSUER, external_client_id="hub", external_client_secret="bí mật/+ của hub",
               external_identifier_claim="cccd")  # fmt: skip
    with pytest.MonkeyPatch.context() as m:
        m.setattr("sys.stdin", io.StringIO(""))
        m.setenv("HEALTH_HUB_EXTERNAL_ISSUER", ISSUER)
        m.setenv("HEALTH_HUB_EXTERNAL_IDENTIFIER_CLAIM", "cccd")
        password = (await asyncio.to_thread(program, "add", "lan", "--role", "auditor"))["password"]
        shown = await asyncio.to_thread(program, "totp", "lan")
        await asyncio.to_thread(program, "link", "lan", "019190012345")
    assert shown["url"].startswith("otpauth://totp/")
    step = await s.begin("lan", password, caller())
    done = await s.second(step.id, pyotp.TOTP(shown["secret"]).now(), caller())  # type: ignore[union-attr]
    p = Provider(claims={"cccd": "019190012345"})
    external = External(h, p.fetch)
    assert (await external.finish(p.authorize(await external.begin(caller())), caller())).account == done.account
    with pytest.MonkeyPatch.context() as m:
        m.setattr("sys.stdin", io.StringIO(""))
        await asyncio.to_thread(program, "password", "lan")
    assert await store.records.get("revoked", f"account/{done.account.id}")
    assert await h.sessions.of(done.cookie) is None
