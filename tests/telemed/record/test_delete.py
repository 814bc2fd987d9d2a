"""Recordings come to an end: by hand, and by age; one that runs does not, and one that is deleted halfway is none."""

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from telemed.record.__main__ import main
from telemed.record.delete import clean, delete, expire
from telemed.record.index import folders
from telemed.record.kept import Kept
from telemed.record.recording import Busy, Limits, Recording, recover, unfinished
from telemed.record.rooms import Recorder
from tests.telemed.record.media import KEY, audio
from tests.telemed.rooms.fake import FakeRelay

NAMES = [f"20261126T0{n}0004Z-0a1b2c3d" for n in range(4)]
SOON = datetime.now(UTC) + timedelta(days=10)


def begun(root: Path, name: str = NAMES[0], room: str = "r") -> Recording:
    r = Recording(root / name, KEY, room, {"a": datetime.now(UTC)}, limits=Limits(free=0), clock=lambda: 100.0)
    track = r.track("a", "a", "audio", "opus", 48_000)
    for packet in audio(50):
        track.write(packet.data, packet.arrival)
    return r


def whole(root: Path, *names: str, room: str = "r") -> None:
    for name in names:
        begun(root, name, room).stop().result(20)


def gone(root: Path, days: float, now: datetime = SOON, passed: set[str] | None = None) -> list[str]:
    return [name for name, _ in expire(root, KEY, days, now, set() if passed is None else passed)]


def test_only_what_is_older_is_deleted_the_oldest_first_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    whole(tmp_path, *NAMES)
    assert gone(tmp_path, 11) == []
    assert not caplog.records
    assert gone(tmp_path, 9) == NAMES
    assert list(tmp_path.iterdir()) == []
    said = "\n".join(caplog.messages)
    assert "4 recordings are older than 9 days" in said
    assert "(4 of 4)" in said
    assert "4 of 4 old recordings are deleted" in said


def test_its_age_is_counted_from_its_end_and_not_from_its_name(tmp_path: Path) -> None:
    whole(tmp_path, "20200101T000000Z-0a1b2c3d", "kept by hand")
    now = datetime.now(UTC)
    assert gone(tmp_path, 1, now) == []
    assert sorted(gone(tmp_path, 1, now + timedelta(days=2))) == ["20200101T000000Z-0a1b2c3d", "kept by hand"]


def test_one_that_runs_stays_and_so_does_one_that_crashed_until_it_is_recovered(tmp_path: Path) -> None:
    r = begun(tmp_path)
    with pytest.raises(Busy):
        delete(tmp_path / NAMES[0])
    assert gone(tmp_path, 9) == []
    r.stop().result(20)
    shutil.copytree(tmp_path / NAMES[0], tmp_path / NAMES[1])
    (tmp_path / NAMES[1] / "index.json.sealed").unlink()  # as a crash leaves it
    with pytest.raises(Busy):
        delete(tmp_path / NAMES[1])
    assert gone(tmp_path, 9) == NAMES[:1]
    recover(tmp_path / NAMES[1], KEY)
    assert delete(tmp_path / NAMES[1]) > 1000
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_kept_and_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole(tmp_path, *NAMES[:2])
    (tmp_path / NAMES[0] / "index.json.sealed").write_bytes(b"not sealed")
    passed: set[str] = set()
    for _ in range(2):
        gone(tmp_path, 9, passed=passed)
    assert [p.name for p in tmp_path.iterdir()] == [NAMES[0]] == list(passed)
    assert sum("cannot be read" in m for m in caplog.messages) == 1
    whole(tmp_path, NAMES[2])
    assert [name for name, _ in expire(tmp_path, b"another key, for other recordings", 9, SOON, set())] == []
    assert (tmp_path / NAMES[2]).exists()


KILLED = """
import os, signal, sys
from pathlib import Path
real, done = os.unlink, []
def unlink(*a, **k):
    real(*a, **k)
    os.kill(os.getpid(), signal.SIGKILL)
os.unlink = unlink
from telemed.record.delete import delete
delete(Path(sys.argv[1]))
"""


def test_kill_9_halfway_leaves_nothing_that_counts_as_a_recording(tmp_path: Path, capsys: Any) -> None:
    whole(tmp_path, *NAMES[:2])
    count = len(list((tmp_path / NAMES[0]).iterdir()))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / NAMES[0])], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = [p for p in tmp_path.iterdir() if p.name != NAMES[1]]
    assert left.name == f"{NAMES[0]}.deleted"
    assert len(list(left.iterdir())) == count - 1, "it was killed at the first file"
    assert [f.name for f in folders(tmp_path)] == [NAMES[1]]
    assert unfinished(tmp_path) == []
    assert [r["name"] for r in Kept(tmp_path, KEY).of_room("r")] == [NAMES[1]]
    os.environ["TELEMED_RECORD_KEY"] = KEY.decode()
    try:
        assert main(["list", str(tmp_path)]) == 0
    finally:
        del os.environ["TELEMED_RECORD_KEY"]
    assert NAMES[0] not in capsys.readouterr().out
    assert clean(tmp_path) == 1
    assert [p.name for p in tmp_path.iterdir()] == [NAMES[1]]


def test_two_relays_that_share_the_folder_delete_each_once(tmp_path: Path) -> None:
    whole(tmp_path, *NAMES)
    one, two = (expire(tmp_path, KEY, 9, SOON, set()) for _ in range(2))
    found = [next(one)[0], *(name for name, _ in two), *(name for name, _ in one)]
    assert sorted(found) == NAMES


async def test_a_relay_deletes_what_is_too_old_at_its_start_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole(tmp_path, *NAMES[:2], room="kham")
    (tmp_path / f"{NAMES[3]}.deleted").mkdir()
    told: list[tuple[str, str]] = []

    async def run(days: float) -> None:
        recorder = Recorder(
            FakeRelay(), tmp_path, KEY, lambda room, reason: None, days=days, deleted=lambda room, name: told.append((room, name))
        )
        await recorder.open()
        async with asyncio.timeout(20):
            while (tmp_path / f"{NAMES[3]}.deleted").exists() or (days and len(told) < 2):
                await asyncio.sleep(0.02)
        await recorder.close()

    await run(0)
    assert (sorted(p.name for p in tmp_path.iterdir()), told) == (NAMES[:2], []), "by default they are kept"
    await run(1e-9)
    assert told == [("kham", name) for name in NAMES[:2]]
    assert list(tmp_path.iterdir()) == []


def test_the_command_deletes_one_without_the_key_and_old_ones_with_it(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELEMED_RECORD_KEY", raising=False)
    root = tmp_path / "rec"
    root.mkdir()
    whole(root, *NAMES[:2])
    assert main(["delete", str(root / NAMES[0])]) == 0
    assert NAMES[0] in capsys.readouterr().out
    assert main(["delete", str(root / NAMES[0])]) == 2, "there is none"
    assert main(["delete", str(root)]) == 2, "no recording"
    assert main(["delete", str(root), "--days", "5"]) == 2, "no key"
    (tmp_path / "key").write_bytes(KEY)
    key = ["--key-file", str(tmp_path / "key")]
    assert main(["delete", str(root), "--days", "5", *key]) == 0
    assert [p.name for p in root.iterdir()] == [NAMES[1]]
    time.sleep(0.01)  # a whole recording may just have ended: 1e-7 days are 9 ms
    assert main(["delete", str(root), "--days", "0.0000001", *key]) == 0
    assert list(root.iterdir()) == []
    assert main(["delete", str(root / "none"), "--days", "5", *key]) == 2
    for wrong in ("0", "-1", "nan", "x"):
        with pytest.raises(SystemExit):
            main(["delete", str(root), "--days", wrong, *key])
