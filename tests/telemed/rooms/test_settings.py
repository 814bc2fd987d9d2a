"""Settings from the environment, and those that cannot be."""

import re
from dataclasses import fields
from typing import Any

import pytest

from telemed.settings import SettingError, Settings, loopback

SECRET = "s" * 32


def test_variables_give_values_and_arguments_win() -> None:
    environ = {"TELEMED_SECRET": SECRET, "TELEMED_TURN": "turn:a, turns:b", "TELEMED_TURN_SECRET": "x"}
    environ |= {"TELEMED_PORT": "9", "TELEMED_RATE": "1.5"}
    found = Settings.load(environ, port=10)
    assert (found.turn, found.port, found.rate, found.open) == (("turn:a", "turns:b"), 10, 1.5, False)
    assert Settings.load({"TELEMED_OPEN": "yes"}).open


@pytest.mark.parametrize(
    "environ",
    [
        {}, {"TELEMED_SECRET": "s" * 31}, {"TELEMED_OPEN": "1", "TELEMED_HOST": "0.0.0.0"}, {"TELEMED_OPEN": "maybe"},
        {"TELEMED_SECRET": SECRET, "TELEMED_PORT": "x"}, {"TELEMED_SECRET": SECRET, "TELEMED_RATE": "nan"},
        {"TELEMED_SECRET": SECRET, "TELEMED_GRACE_SECONDS": "-1"}, {"TELEMED_SECRET": SECRET, "TELEMED_TURN": "turn:a"},
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(SettingError):
        Settings.load(environ)
    with pytest.raises(SettingError):
        Settings.load({"TELEMED_SECRET": SECRET}, colour="red")


def test_every_setting_says_what_it_is() -> None:
    for field in fields(Settings):
        assert re.search(r"\w", field.metadata["help"])


@pytest.mark.parametrize(
    ("host", "inside"),
    [("127.0.0.1", True), ("::1", True), ("[::1]", True), ("localhost", True), ("0.0.0.0", False), ("a.example", False)],
)
def test_what_is_loopback(host: str, inside: bool) -> None:
    assert loopback(host) is inside


def test_no_secret_is_shown_in_an_error() -> None:
    given: dict[str, Any] = {"secret": "too short to be one"}
    with pytest.raises(SettingError) as caught:
        Settings(**given)
    assert "too short to be one" not in str(caught.value)
