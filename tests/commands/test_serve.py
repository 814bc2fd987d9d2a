"""When the server may start at all."""

import pytest

from health_hub.cli import main
from health_hub.commands.serve import refuse
from health_hub.settings import Settings
from telemed.settings import loopback


def test_without_access_control_only_where_nobody_else_can_reach() -> None:
    assert refuse(Settings(auth=False)) is None
    for host in ("0.0.0.0", "::", "192.168.1.5", "hub.example.vn", ""):
        assert "loopback" in (refuse(Settings(auth=False, host=host)) or "")


def test_with_access_control_the_address_that_clients_see_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert refuse(Settings()) is None
    assert refuse(Settings(host="0.0.0.0", base_url="https://hub.example.vn/fhir")) is None
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    said = capsys.readouterr().err
    assert "Chưa khởi động" in said
    assert "Not started" in said


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_loopback(host: str) -> None:
    assert loopback(host)


@pytest.mark.parametrize("host", ["localhost.example.vn", "127.0.0.1.example.vn", "0.0.0.0", "10.0.0.1", "2130706433"])
def test_not_loopback(host: str) -> None:
    assert not loopback(host)


def test_several_workers_need_postgresql() -> None:
    assert "PostgreSQL" in (refuse(Settings(auth=False, workers=2)) or "")
    assert refuse(Settings(auth=False, workers=2, db="postgresql://hub@127.0.0.1/hub")) is None


def test_a_setting_that_is_none_is_said_in_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTH_HUB_PORT", "eighty")
    assert main(["serve", "--no-auth"]) == 2
    assert capsys.readouterr().err == "health-hub: HEALTH_HUB_PORT is a number, not 'eighty'\n"
