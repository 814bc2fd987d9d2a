"""kill -9 while it records: all but the last second can be played."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from telemed.record.__main__ import main
from telemed.record.index import INDEX, read_index
from telemed.record.play import play
from telemed.record.recording import Busy, recover, unfinished
from telemed.record.sealed import Tampered, WrongKey
from tests.telemed.record.media import KEY, decode

ROOT = Path(__file__).resolve().parents[3]

# Sends in real time from 100 frames made before; says how far it is.
PROGRAM = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from telemed.record.recording import Limits, Recording
from tests.telemed.record.media import KEY, audio, video
sent = {"opus": audio(400), "VP8": video("VP8", 200), "H264": video("H264", 200)}
r = Recording(Path(sys.argv[1]), KEY, "kham-1", {"bn-an": datetime.now(UTC)}, limits=Limits(free=0))
tracks = {c: r.track(c, "bn-an", "audio" if c == "opus" else "video", c, 48000 if c == "opus" else 90000) for c in sent}
begun = time.monotonic()
while True:
    now = time.monotonic()
    for codec, packets in sent.items():
        while packets and packets[0].arrival - 100 < now - begun:
            tracks[codec].write(packets.pop(0).data, now)
    print(now - begun, flush=True)
    time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """(folder of a recording whose process was killed, seconds it had been fed)."""
    folder = tmp_path_factory.mktemp("crash") / "in"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if float(line) > 2.4:
            break
    with pytest.raises(Busy):
        recover(folder, KEY)
    assert read_index(folder, KEY)["unfinished"]
    assert unfinished(folder.parent) == [folder]
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    return folder, float(rest[-1]) if rest else 2.4


def test_what_was_flushed_plays_before_and_after_recovery(crashed: tuple[Path, float], tmp_path: Path) -> None:
    folder, fed = crashed
    index, problems = play(folder, tmp_path / "before", KEY)
    assert not problems
    before = {t["track"]: decode(tmp_path / "before" / t["file"]) for t in index["tracks"]}
    for seen in before.values():
        assert seen.times[-1] > fed - 2  # a second, and what a busy machine adds
    # The last write was cut in the middle, as a power failure may do it.
    with (folder / index["tracks"][1]["file"]).open("ab") as file:
        file.write(b"\0\0\1\0" + os.urandom(100))
    index = recover(folder, KEY)
    assert index["recovered"]
    assert not unfinished(folder.parent)
    assert index["why"] == "crashed"
    assert index["participants"][0]["participant"] == "bn-an"
    index, problems = play(folder, tmp_path / "after", KEY)
    assert not problems
    for track in index["tracks"]:
        seen = decode(tmp_path / "after" / track["file"])
        assert seen.times == before[track["track"]].times
        assert seen.duration == pytest.approx(seen.times[-1], abs=0.1)
    assert recover(folder, KEY)["tracks"] == read_index(folder, KEY)["tracks"]


def test_a_changed_chunk_costs_its_track_only(crashed: tuple[Path, float], tmp_path: Path) -> None:
    folder, _ = crashed
    index = recover(folder, KEY)
    path = folder / index["tracks"][1]["file"]
    data = path.read_bytes()
    path.write_bytes(data[:500] + bytes([data[500] ^ 4]) + data[501:])
    _, problems = play(folder, tmp_path, KEY)
    assert len(problems) == 1
    assert path.name in problems[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([index["tracks"][0]["file"], index["tracks"][2]["file"], "index.json"])
    # An older version of the file, whole in itself, is not the one that the index speaks of; nor is none.
    path.unlink()
    assert len(play(folder, tmp_path, KEY)[1]) == 1
    path.write_bytes(data)
    sealed = (folder / INDEX).read_bytes()
    (folder / INDEX).write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(Tampered):
        play(folder, tmp_path, KEY)
    (folder / INDEX).unlink()
    recover(folder, KEY)


def test_the_command_line(
    crashed: tuple[Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(crashed[0])
    monkeypatch.delenv("TELEMED_RECORD_KEY", raising=False)
    assert main(["play", folder, str(tmp_path)]) == 2
    monkeypatch.setenv("TELEMED_RECORD_KEY", KEY.decode())
    assert main(["recover", folder]) == 0
    assert main(["play", folder, str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["index", folder]) == 0
    assert json.loads(capsys.readouterr().out)["room"] == "kham-1"
    (tmp_path / "key").write_text("another key than the right one\n")
    assert main(["play", folder, str(tmp_path), "--key-file", str(tmp_path / "key")]) == 2
    assert "WrongKey" in capsys.readouterr().err
    with pytest.raises(WrongKey):
        read_index(crashed[0], b"another key than the right one")
