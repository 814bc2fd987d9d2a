"""docs/telemed-protocol.md names what the program speaks."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from telemed.relay import data, sctp
from telemed.rooms.roles import DEFAULTS, Right, Role
from telemed.signal import messages
from telemed.signal.texts import CLOSES, TEXTS
from telemed.tokens import LEEWAY

PAGE = (Path(__file__).parents[3] / "docs" / "telemed-protocol.md").read_text("utf-8")


@pytest.mark.parametrize("struct", get_args(messages.Message))
def test_every_message_of_a_client_is_there_with_its_fields(struct: type[msgspec.Struct]) -> None:
    kind = str(struct.__struct_config__.tag)
    assert f'"type": "{kind}"' in PAGE
    for field in struct.__struct_fields__:
        assert f'"{field}"' in PAGE or f"`{field}`" in PAGE, (kind, field)


def test_every_message_of_the_relay_is_there() -> None:
    root = Path(messages.__file__).parents[1]
    code = "".join(path.read_text("utf-8") for folder in ("rooms", "signal") for path in (root / folder).glob("*.py"))
    for kind in set(re.findall(r'"type": "([a-z-]+)"', code)):
        assert f'"type": "{kind}"' in PAGE or f"`{kind}`" in PAGE, kind


def test_every_error_and_close_code_is_there() -> None:
    for code in TEXTS:
        assert f"`{code}`" in PAGE, code
    for close in set(CLOSES.values()):
        assert str(close) in PAGE, close
    assert CLOSES.keys() <= TEXTS.keys()


def test_every_role_and_right_is_there() -> None:
    for word in (*Role, *Right):
        assert f"`{word}`" in PAGE
    assert DEFAULTS.keys() == set(Role)
    assert f"{LEEWAY} s of tolerance" in PAGE


def test_the_limits_of_data_channels_are_there() -> None:
    part = PAGE.split("#### Over data channels")[1].split("\n## ")[0]
    for figure in (
        f"{sctp.MAX_MESSAGE:,} bytes", f"| {sctp.MAX_CHANNELS} |", f"{sctp.MAX_NAME} bytes each",
        f"{data.MESSAGE_COST >> 10} KiB for each receiver",
        f"{data.RATE / 1e6:.0f} MB/s", f"{sctp.WINDOW:,} bytes", f"{sctp.MAX_BUFFERED >> 20} MiB", f"{sctp.STALL_SECONDS:.0f} s while",
        f"{sctp.STALL_BYTES >> 10} KiB wait", f"over {sctp.SMALL:,} bytes", f"{data.MAX_EARLY >> 10} KiB |",
    ):  # fmt: skip
        assert figure in part, figure
    assert data.SHARE == 1 / 5


def test_every_example_is_json() -> None:
    for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL):
        decoder_text = block.replace("{...}", "{}").replace("<", '"<').replace(">", '>"')
        parts = re.split(r"\n(?=\{|\[)", decoder_text.strip())
        for part in parts:
            msgspec.json.decode(part)
