"""The sealed format: what is changed, cut, swapped or opened with another key is noticed."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemed.record.sealed import CHUNK, HEADER, OVERHEAD, SealedError, SealedReader, SealedWriter, Tampered, Unfinished, WrongKey
from tests.telemed.record.media import KEY

OWNER = bytes(range(16))


def written(path: Path, *pieces: bytes, finish: bool = True) -> Path:
    path.unlink(missing_ok=True)
    writer = SealedWriter.create(path, KEY, OWNER)
    for piece in pieces:
        writer.append(piece)
    if finish:
        writer.finish()
    else:
        writer.close()
    return path


def whole(path: Path) -> bytes:
    with SealedReader(path, KEY) as reader:
        return reader.whole()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_what_went_in_comes_out(path: Path) -> None:
    assert whole(written(path, b"one", b"", b"two" * 1000)) == b"one" + b"two" * 1000
    assert whole(written(path)) == b""
    large = os.urandom(CHUNK + 5)
    assert whole(written(path, large)) == large


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=6), st.integers(0, 130), st.integers(0, 130))
def test_any_part_can_be_read(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], start: int, stop: int) -> None:
    path = written(tmp_path_factory.mktemp("sealed") / "file", *pieces)
    with SealedReader(path, KEY) as reader:
        assert b"".join(reader.read(start, stop)) == b"".join(pieces)[start:stop]


def test_every_changed_byte_is_noticed(path: Path) -> None:
    data = written(path, b"first", b"second").read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(SealedError):
            whole(path)


def test_every_cut_is_noticed(path: Path) -> None:
    data = written(path, b"first", b"second").read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises((Unfinished, Tampered)):
            whole(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(Tampered):
        whole(path)


def test_a_chunk_dropped_repeated_or_swapped_is_noticed(path: Path) -> None:
    data = written(path, b"aaaa", b"bbbb", b"cccc").read_bytes()
    size = OVERHEAD + 4
    chunks = [data[HEADER + i * size : HEADER + (i + 1) * size] for i in range(3)]
    end = data[HEADER + 3 * size :]
    for order in ([0, 2], [0, 0, 1, 2], [1, 0, 2], [0, 1], []):
        path.write_bytes(data[:HEADER] + b"".join(chunks[i] for i in order) + end)
        with pytest.raises(Tampered):
            whole(path)


def test_a_chunk_of_another_file_is_noticed(path: Path) -> None:
    one, other = written(path, b"aaaa").read_bytes(), written(path, b"bbbb").read_bytes()
    path.write_bytes(one[:HEADER] + other[HEADER:])
    with pytest.raises(Tampered):
        whole(path)


def test_another_key_or_another_name_opens_nothing(path: Path) -> None:
    written(path, b"secret")
    with pytest.raises(WrongKey):
        SealedReader(path, KEY + b"!")
    with pytest.raises(WrongKey):
        SealedReader(path.rename(path.with_name("renamed")), KEY)
    with pytest.raises(ValueError):
        SealedWriter.create(path, b"short", OWNER)


def test_after_a_crash_one_appends_where_it_broke_off(path: Path) -> None:
    data = written(path, b"one", b"two", finish=False).read_bytes()
    for cut in range(OVERHEAD + 3):
        path.write_bytes(data[: len(data) - cut])
        writer = SealedWriter.reopen(path, KEY)
        kept = b"one" if cut else b"onetwo"
        assert writer.length == len(kept)
        writer.append(b"three")
        writer.finish()
        assert whole(path) == kept + b"three"
    with pytest.raises(SealedError):
        SealedWriter.reopen(path, KEY)


def test_a_last_chunk_whose_content_never_reached_the_disk_is_cut(path: Path) -> None:
    data = written(path, b"one", b"two", finish=False).read_bytes()
    path.write_bytes(data[:-10] + bytes(10))
    writer = SealedWriter.reopen(path, KEY)
    writer.finish()
    assert whole(path) == b"one"


def test_a_full_disk_leaves_no_half_chunk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SealedWriter.create(path, KEY, OWNER)
    writer.append(b"one")
    real, calls = os.write, [0]

    def full(file: int, data: bytes) -> int:
        calls[0] += 1
        if calls[0] == 1:
            return real(file, data[:5])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr("telemed.record.sealed.os.write", full)
        with pytest.raises(OSError, match="No space"):
            writer.append(b"two")
    writer.append(b"three")
    writer.finish()
    assert whole(path) == b"onethree"
