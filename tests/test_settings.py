"""Settings from HEALTH_HUB_* variables."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from health_hub.settings import SettingError, Settings


def test_defaults() -> None:
    settings = Settings.load({})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.auth, settings.zone) == ("127.0.0.1", 8080, True, "Asia/Ho_Chi_Minh")
    assert settings.max_body == 64 * 1024 * 1024


def test_variables_and_what_is_given() -> None:
    environ = {"HEALTH_HUB_PORT": "9000", "HEALTH_HUB_AUTH": "false", "HEALTH_HUB_CORS_ORIGINS": "https://a.vn, https://b.vn",
               "HEALTH_HUB_TIMEOUT": "2.5", "HEALTH_HUB_ZONE": "UTC", "OTHER": "x"}  # fmt: skip
    settings = Settings.load(environ, zone="Asia/Bangkok", db=None)
    assert (settings.port, settings.auth, settings.timeout, settings.zone) == (9000, False, 2.5, "Asia/Bangkok")
    assert settings.cors_origins == ("https://a.vn", "https://b.vn")
    assert settings.db == Settings().db
    assert Settings.load({"HEALTH_HUB_CORS_ORIGINS": ""}).cors_origins == ()


@pytest.mark.parametrize(("name", "text"), [
    ("PORT", "http"), ("PORT", "-1"), ("AUTH", "perhaps"), ("TIMEOUT", ""), ("CONDITIONAL_DELETE", "some"),
])  # fmt: skip
def test_a_wrong_value_names_its_variable(name: str, text: str) -> None:
    with pytest.raises(SettingError, match=f"HEALTH_HUB_{name}"):
        Settings.load({f"HEALTH_HUB_{name}": text})


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(SettingError, match="colour"):
        Settings.load({}, colour="blue")


def test_every_setting_says_what_it_is_for() -> None:
    assert all(f.metadata["help"] for f in fields(Settings))


def test_settings_import_nothing_of_the_project() -> None:
    text = (Path(__file__).parent.parent / "health_hub" / "settings.py").read_text("utf-8")
    assert not re.search(r"(from|import) health_hub", text)
