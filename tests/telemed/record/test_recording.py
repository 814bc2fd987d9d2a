"""Packets in, files out that an independent reader decodes."""

import json
import os
import random
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from telemed.record.play import play
from telemed.record.recording import ConsentMissing, Limits, Recording, recover
from tests.telemed.record.media import KEY, Sent, audio, decode, encoded, rtp, video

AGREED = {"bn-an": datetime.now(UTC), "bs-binh": datetime.now(UTC)}
CODECS = ["VP8", "VP9", "H264", "AV1"]


def recording(folder: Path, **options: Any) -> Recording:
    return Recording(
        folder, KEY, "kham-1", AGREED, limits=Limits(free=0), clock=lambda: 100.0, zone=ZoneInfo("Asia/Ho_Chi_Minh"), **options
    )


def recorded(folder: Path, sent: dict[str, Iterable[Sent]], **options: Any) -> tuple[dict[str, Any], Path]:
    """Records tracks named by their codec; the index and the folder of the plain files."""
    r = recording(folder / "in", **options)
    for codec, packets in sent.items():
        sound = codec in ("opus", "red")
        track = r.track(codec, "bn-an", "audio" if sound else "video", codec, 48_000 if sound else 90_000)
        for p in packets:
            track.write(p.data, p.arrival)
    r.stop().result(20)
    index, problems = play(folder / "in", folder / "out", KEY)
    assert not problems
    return index, folder / "out"


@pytest.mark.parametrize("codec", CODECS)
def test_every_picture_of_a_track_is_in_its_file(codec: str, tmp_path: Path) -> None:
    index, out = recorded(tmp_path, {codec: video(codec)})
    (track,) = index["tracks"]
    seen = decode(out / track["file"])
    assert len(seen.times) == track["frames"] == 45
    assert (seen.width, track["width"]) == (160, 160)
    assert seen.times == pytest.approx([n / 30 for n in range(45)], abs=0.0011)
    assert seen.duration == pytest.approx(1.5, abs=0.05)
    assert track["gaps"] == []
    assert track["keyframes"] == 3


def test_every_sample_of_sound_is_in_its_file(tmp_path: Path) -> None:
    index, out = recorded(tmp_path, {"opus": audio(100)})
    seen = decode(out / index["tracks"][0]["file"])
    assert seen.samples >= 99 * 960
    assert seen.times[-1] == pytest.approx(99 * 0.02, abs=0.0011)
    assert seen.duration == pytest.approx(2.0, abs=0.03)
    assert index["tracks"][0]["gaps"] == []


@pytest.mark.parametrize("codec", [*CODECS, "opus"])
def test_packets_out_of_order_and_twice_make_the_same_file(codec: str, tmp_path: Path) -> None:
    sent = audio() if codec == "opus" else video(codec)
    mixed = sent[:3]
    rnd = random.Random(7)
    for at in range(3, len(sent), 6):
        part = sent[at : at + 6]
        rnd.shuffle(part)
        mixed += [Sent(p.data, max(q.arrival for q in part), p.frame) for p in part + part[:2]]
    straight, _ = recorded(tmp_path / "a", {codec: sent})
    index, out = recorded(tmp_path / "b", {codec: mixed})
    a, b = straight["tracks"][0], index["tracks"][0]
    assert (a["frames"], a["bytes"], b["lost"], b["gaps"]) == (b["frames"], b["bytes"], 0, [])
    decode(out / b["file"])


@pytest.mark.parametrize("codec", CODECS)
def test_after_a_loss_the_picture_goes_on_at_a_keyframe_and_the_gap_is_told(codec: str, tmp_path: Path) -> None:
    asked: list[str] = []
    sent = [p for p in video(codec) if p.frame != 20]
    index, out = recorded(tmp_path, {codec: sent}, on_keyframe=asked.append)
    (track,) = index["tracks"]
    seen = decode(out / track["file"])
    assert len(seen.times) == 45 - 10
    assert [(g["from"], g["to"], g["why"]) for g in track["gaps"]] == [(pytest.approx(19 / 30, abs=0.001), 1.0, "lost")]
    assert track["lost"] > 0
    assert asked
    assert track["left_out"] >= 8  # of the first one after the loss, AV1 does not tell where it begins


@pytest.mark.parametrize("codec", ["VP8", "H264", "AV1"])
def test_a_frame_without_one_of_its_packets_is_left_out(codec: str, tmp_path: Path) -> None:
    sent = video(codec, 31, 10, 5, every=30, width=320, height=240)
    of_key = [p for p in sent if p.frame == 0]
    assert len(of_key) > 2
    second = [p for p in sent if p.frame == 30]
    index, out = recorded(tmp_path / "a", {codec: [p for p in sent if p is not of_key[1]]})
    assert index["tracks"][0]["frames"] == 1
    assert decode(out / index["tracks"][0]["file"]).width == 320
    index, _ = recorded(tmp_path / "b", {codec: [p for p in sent if p is not second[0]]})
    assert index["tracks"][0]["frames"] == 30


def test_lost_sound_is_a_gap_of_its_length(tmp_path: Path) -> None:
    sent = audio()
    index, out = recorded(tmp_path, {"opus": [p for p in sent if p.frame not in (10, 11, 30)]})
    (track,) = index["tracks"]
    assert [(g["from"], g["to"]) for g in track["gaps"]] == [(0.2, 0.24), (0.6, 0.62)]
    assert (track["lost"], track["frames"]) == (3, 72)
    assert decode(out / track["file"]).times[-1] == pytest.approx(74 * 0.02, abs=0.0011)


def test_redundant_sound_fills_what_was_lost(tmp_path: Path) -> None:
    plain = audio(60)
    sent = []
    for n, p in enumerate(plain):
        blocks = [plain[i].data[20:] for i in (n - 2, n - 1) if i >= 0]
        heads = b"".join(bytes([0x80 | 111]) + ((len(blocks) - i) * 960 << 10 | len(b)).to_bytes(3, "big") for i, b in enumerate(blocks))
        payload = heads + bytes([111]) + b"".join(blocks) + p.data[20:]
        sent.append(Sent(rtp(65_500 + n, 0xFFFFF000 + n * 960, payload), p.arrival, n))
    index, out = recorded(tmp_path, {"red": [p for p in sent if p.frame not in (10, 20, 21, 40, 41, 42)]})
    (track,) = index["tracks"]
    assert track["frames"] == 59
    assert [(g["from"], g["to"]) for g in track["gaps"]] == [(0.8, 0.82)]
    assert decode(out / track["file"]).samples >= 58 * 960


def test_payload_types_beside_the_codec(tmp_path: Path) -> None:
    r = recording(tmp_path / "in")
    track = r.track("s", "bn-an", "audio", "red", 48_000, types={63: "red", 111: "opus"})
    for n, p in enumerate(audio(30)):
        payload, kind = (p.data[20:], 111) if n % 3 else (b"\x6f" + p.data[20:], 63)
        data = rtp(100 + n, 5000 + n * 960, payload if n != 10 else b"\x05\x80\0\0", extension=False)
        track.write(data[:1] + bytes([101 if n == 10 else kind]) + data[2:], p.arrival)
    index = r.stop().result(20)
    play(tmp_path / "in", tmp_path / "out", KEY)
    assert (index["tracks"][0]["frames"], index["tracks"][0]["lost"]) == (29, 0)
    assert decode(tmp_path / "out" / index["tracks"][0]["file"]).samples >= 28 * 960
    with pytest.raises(RuntimeError):
        r.track("v", "bn-an", "video", "VP8", 90_000)


def test_a_lost_frame_of_a_higher_temporal_layer_costs_that_layer_only(tmp_path: Path) -> None:
    """Layers 0 2 1 2; the descriptors tell so, whatever the encoder did (the decoder does not mind)."""
    sent = []
    for p in video("VP8", 32, 100, 1000, every=32):
        n, payload = p.frame, p.data[20:]
        tid, sync, tl0 = (0, 2, 1, 2)[n % 4], n % 4 == 2, n // 4
        at = 4 if payload[0] & 0x80 else 1
        head = bytes([payload[0] | 0x80, 0xE0]) + (0x8000 | n).to_bytes(2, "big") + bytes([tl0, tid << 6 | sync << 5])
        sent.append(Sent(rtp(100 + len(sent), 1000 + n * 3000, head + payload[at:], bool(p.data[1] & 0x80)), p.arrival, n))
    index, _ = recorded(tmp_path / "a", {"VP8": [p for p in sent if p.frame != 9]})
    # 10 begins layer 1 anew; nothing says that layer 2 is built on what we have.
    assert index["tracks"][0]["frames"] == 32 - 1 - len([n for n in range(10, 32) if n % 4 in (1, 3)])
    index, _ = recorded(tmp_path / "b", {"VP8": [p for p in sent if p.frame != 8]})
    assert index["tracks"][0]["frames"] == 8  # the base is broken


def test_a_sender_that_begins_anew_goes_on_in_the_same_file(tmp_path: Path) -> None:
    first, second = video("VP8", 15, 100, 5000), video("VP8", 15, 40_000, 900_000_000)
    later = [Sent(p.data[:8] + b"\0\0\0\x77" + p.data[12:], p.arrival + 2, p.frame) for p in second]
    index, out = recorded(tmp_path, {"VP8": first + later})
    (track,) = index["tracks"]
    assert track["frames"] == 30
    assert [g["why"] for g in track["gaps"]] == ["restart"]
    assert decode(out / track["file"]).times[15] == pytest.approx(2.0, abs=0.05)


def test_a_picture_that_changes_its_size(tmp_path: Path) -> None:
    for codec in CODECS:
        small, large = video(codec, 15, 100, 5000), video(codec, 15, 0, 0, width=320, height=240)
        n = len(small)
        then = [
            Sent(rtp(100 + n + i, 5000 + (15 + p.frame) * 3000, p.data[20:], bool(p.data[1] & 0x80)), p.arrival + 0.5, p.frame)
            for i, p in enumerate(large)
        ]
        index, out = recorded(tmp_path / codec, {codec: small + then})
        seen = decode(out / index["tracks"][0]["file"])
        assert (len(seen.times), seen.width) == (30, 320), codec


def test_one_can_seek_in_the_plain_file(tmp_path: Path) -> None:
    import av

    for codec in CODECS:
        index, out = recorded(tmp_path / codec, {codec: video(codec, 60)})
        with av.open(str(out / index["tracks"][0]["file"])) as file:
            file.seek(1_200_000)
            assert float(next(file.decode(video=0)).time) == pytest.approx(1.0, abs=0.01), codec


def test_the_index_tells_who_when_and_how_the_tracks_lie(tmp_path: Path) -> None:
    r = recording(tmp_path / "in")
    sound, sight = r.track("s", "bn-an", "audio", "opus", 48_000), r.track("v", "bn-an", "video", "VP8", 90_000, ["h"])
    for p in audio(10, timestamp=48_000):
        sound.write(p.data, p.arrival + 0.3)
    for p in video("VP8", 10, timestamp=90_000):
        sight.write(p.data, p.arrival + 0.8)  # the slower way, though seen at the same time
    sound.sender_report(5000.0, 48_000)
    sight.sender_report(5001.0, 180_000)
    index = r.stop().result(20)
    assert index["room"] == "kham-1"
    assert index["started"].endswith("+07:00")
    assert index["zone"] == "Asia/Ho_Chi_Minh"
    assert [p["participant"] for p in index["participants"]] == ["bn-an", "bs-binh"]
    assert all(datetime.fromisoformat(p["consented"]).tzinfo for p in index["participants"])
    assert [t["offset"] for t in index["tracks"]] == [0.3, 0.3]
    assert index["tracks"][1]["rids"] == ["h"]
    play(tmp_path / "in", tmp_path / "out", KEY)
    told = json.loads((tmp_path / "out" / "index.json").read_text())
    assert told["tracks"][0]["played_sha256"]


def test_nothing_readable_lies_in_the_folder(tmp_path: Path) -> None:
    recorded(tmp_path, {"opus": audio()})
    for file in (tmp_path / "in").iterdir():
        data = file.read_bytes()
        assert not any(word in data for word in (b"bn-an", b"kham-1", b"webm", b"OpusHead")), file
        assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("consent", [{}, {"bn-an": datetime.now(UTC), "bs-binh": None}])
def test_without_everybodys_consent_there_is_no_recording(consent: dict[str, datetime | None], tmp_path: Path) -> None:
    with pytest.raises(ConsentMissing):
        Recording(tmp_path / "in", KEY, "kham-1", consent)
    assert not (tmp_path / "in").exists()


def test_a_consent_needs_a_time_with_zone_that_has_come(tmp_path: Path) -> None:
    for when in (datetime.now(), datetime.now(UTC) + timedelta(hours=1)):
        with pytest.raises(ValueError):
            Recording(tmp_path / "in", KEY, "kham-1", {"bn-an": when})


def test_who_comes_later_has_to_agree_and_who_no_longer_agrees_ends_it(tmp_path: Path) -> None:
    r = recording(tmp_path / "in")
    with pytest.raises(ConsentMissing):
        r.joined("nguoi-nha", None)
    with pytest.raises(ConsentMissing):
        r.track("x", "nguoi-nha", "audio", "opus", 48_000)
    r.joined("nguoi-nha", datetime.now(UTC))
    track = r.track("x", "nguoi-nha", "audio", "opus", 48_000)
    index = r.withdraw("nguoi-nha").result(20)
    assert index["why"] == "withdrawn by nguoi-nha"
    assert index["participants"][2]["participant"] == "nguoi-nha"
    track.write(audio(1)[0].data, 100)  # after the end: nothing
    with pytest.raises(RuntimeError):
        r.track("y", "bn-an", "audio", "opus", 48_000)


@pytest.mark.parametrize(
    ("limits", "why"), [(Limits(bytes=2000, free=0), "bytes"), (Limits(seconds=0, free=0), "seconds"), (Limits(), "disk-full")]
)
def test_a_limit_ends_it_with_whole_files(limits: Limits, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemed.record.recording.FLUSH", 0)
    monkeypatch.setattr("telemed.record.recording.BATCH", 0.01)
    ended, reasons = threading.Event(), list[str]()
    r = Recording(tmp_path / "in", KEY, "kham-1", AGREED, limits=limits, on_end=lambda reason: (reasons.append(reason), ended.set()))
    if why == "disk-full":
        monkeypatch.setattr("telemed.record.recording.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1}))
    track = r.track("v", "bn-an", "video", "VP8", 90_000)
    for p in video("VP8"):
        track.write(p.data, p.arrival)
    assert ended.wait(10)
    assert reasons == [why]
    assert r.stop().result(1)["why"] == why
    assert not play(tmp_path / "in", tmp_path / "out", KEY)[1]


def test_a_disk_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemed.record.recording.FLUSH", 0)
    monkeypatch.setattr("telemed.record.recording.BATCH", 0.01)
    hangs, goes_on, real = threading.Event(), threading.Event(), os.write

    def slow(file: int, data: bytes) -> int:
        hangs.set()
        assert goes_on.wait(20)
        return real(file, data)

    r = recording(tmp_path / "in")
    monkeypatch.setattr("telemed.record.sealed.os.write", slow)
    track = r.track("v", "bn-an", "video", "VP8", 90_000)
    for i, p in enumerate(video("VP8")):
        track.write(p.data, p.arrival)
        assert i or hangs.wait(20)
    track.close()
    done = r.stop()
    assert not done.done()
    goes_on.set()
    assert done.result(20)["tracks"][0]["frames"] == 45


def test_a_disk_that_fails_ends_it_and_what_was_written_can_be_recovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemed.record.recording.FLUSH", 0)
    monkeypatch.setattr("telemed.record.recording.BATCH", 0.01)
    ended, written, real = list[str](), threading.Event(), os.write

    def fails(file: int, data: bytes) -> int:
        if written.is_set():
            raise OSError(5, "Input/output error")
        return real(file, data)

    monkeypatch.setattr("telemed.record.sealed.os.write", fails)
    r = recording(tmp_path / "in", on_end=ended.append)
    track = r.track("v", "bn-an", "video", "VP8", 90_000)
    sent = video("VP8")
    for p in sent[:20]:
        track.write(p.data, p.arrival)
    while not track.size > 1000:
        time.sleep(0.01)
    written.set()
    for p in sent[20:]:
        track.write(p.data, p.arrival)
    with pytest.raises(OSError, match="Input"):
        r.stop().result(20)
    r._thread.join(20)
    monkeypatch.undo()
    assert ended == ["disk-error"]
    index = recover(tmp_path / "in", KEY)
    assert not play(tmp_path / "in", tmp_path / "out", KEY)[1]
    assert len(decode(tmp_path / "out" / index["tracks"][0]["file"]).times) >= 1


@pytest.mark.parametrize("codec", [*CODECS, "opus"])
def test_an_hour_of_silence_is_neither_a_gap_nor_a_restart(codec: str, tmp_path: Path) -> None:
    sent = audio(20) if codec == "opus" else video(codec, 20)
    clock = 48_000 if codec == "opus" else 90_000

    def later(p: Sent) -> Sent:
        timestamp = int.from_bytes(p.data[4:8], "big") + 3600 * clock & 0xFFFFFFFF
        return Sent(p.data[:4] + timestamp.to_bytes(4, "big") + p.data[8:], p.arrival + 3600.2, p.frame)

    index, out = recorded(tmp_path, {codec: [later(p) if p.frame >= 10 else p for p in sent]})
    assert index["tracks"][0]["gaps"] == []
    seen = decode(out / index["tracks"][0]["file"])
    assert len([t for t in seen.times if t < 1]) == 10
    assert seen.times[-1] == pytest.approx(3600 + 19 * (0.02 if codec == "opus" else 1 / 30), abs=0.002)


def test_the_spatial_layers_of_a_vp9_picture_are_one_superframe(tmp_path: Path) -> None:
    """Frames 2n and 2n+1 of a plain stream stand for the layers of picture n: the decoder finds both."""
    out: list[Sent] = []
    for n, frame in enumerate(encoded("VP9", 20, 20)):
        layer, picture = n % 2, n // 2
        # I, P but in the first, L, F unset so that TL0PICIDX follows, B and E; SID in the layer index.
        head = bytes([0x80 | 0x40 * (n > 0) | 0x20 | 0x0C, picture, layer << 1, picture])
        out.append(Sent(rtp(100 + n, 5000 + picture * 3000, head + frame, bool(layer)), 100 + picture / 30, picture))
    index, folder = recorded(tmp_path, {"VP9": out})
    assert index["tracks"][0]["frames"] == 10
    assert len(decode(folder / index["tracks"][0]["file"]).times) == 20


def test_a_disk_that_keeps_nothing_up_bounds_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemed.record.recording.QUEUE_MAX", 5000)
    monkeypatch.setattr("telemed.record.recording.BATCH", 30)
    r = recording(tmp_path / "in")
    track = r.track("v", "bn-an", "video", "VP8", 90_000)
    sent = video("VP8")
    for p in sent:
        track.write(p.data, p.arrival)
    index = r.stop().result(20)
    assert 0 < index["overrun"] < len(sent)


def test_garbage_harms_neither_the_track_nor_the_others(tmp_path: Path) -> None:
    rnd = random.Random(3)
    r = recording(tmp_path / "in")
    tracks = [r.track(c, "bn-an", "audio" if c in ("opus", "red") else "video", c, 90_000) for c in (*CODECS, "opus", "red")]
    good = {c: video(c, 15, 100, 5000) for c in CODECS}
    for track in tracks:
        for i in range(600):
            if rnd.random() < 0.3 and track.id in good:
                data = bytearray(rnd.choice(good[track.id]).data)
                for _ in range(rnd.randrange(4)):
                    data[rnd.randrange(len(data))] = rnd.randrange(256)
                data = data[: rnd.randrange(len(data)) + 1] if rnd.random() < 0.3 else data
            else:
                data = bytearray(rtp(100 + i, 5000 + i * 500, rnd.randbytes(rnd.randrange(40)), rnd.random() < 0.5))
            track.write(bytes(data), 100 + i / 50)
    sound = r.track("good", "bn-an", "audio", "opus", 48_000)
    for p in audio():
        sound.write(p.data, p.arrival)
    index = r.stop().result(30)
    assert index["tracks"][-1]["frames"] == 75
    assert not play(tmp_path / "in", tmp_path / "out", KEY)[1]
