"""What is known of a recording, as lines of a journal that are folded into the index: a crash loses the last line at most."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from telemed.record.sealed import SealedReader, SealedWriter

JOURNAL, INDEX = "journal.sealed", "index.json.sealed"
DELETED = ".deleted"  # ends the name of a recording's folder from the moment on that it counts as gone
GAPS_MAX = 5000  # a track; what is more is only counted

Line = dict[str, Any]
Index = dict[str, Any]


def fold(index: Index, line: Line) -> None:
    """Applies one line.

    {"set": ...}: to the recording; {"consent": ...}: one more participant; {"track": n, "set" | "gap" | "cues": ...}: to its nth track.
    """
    if "consent" in line:
        index.setdefault("participants", []).append(line["consent"])
    elif "track" not in line:
        index.update(line["set"])
    else:
        tracks = index.setdefault("tracks", [])
        while len(tracks) <= line["track"]:
            tracks.append({"gaps": [], "cues": []})
        track = tracks[line["track"]]
        track.update(line.get("set", {}))
        track["cues"] += line.get("cues", [])
        if (gap := line.get("gap")) is not None:
            if len(track["gaps"]) < GAPS_MAX:
                track["gaps"].append(gap)
            else:
                track["gaps_more"] = track.get("gaps_more", 0) + 1


def folded(lines: Iterable[Line]) -> Index:
    index: Index = {"version": 1, "participants": [], "tracks": []}
    for line in lines:
        fold(index, line)
    return index


def read_journal(folder: Path, key: bytes) -> tuple[Index, bytes]:
    """(the index as far as the journal tells it, the recording's id). Raises SealedError, OSError."""
    with SealedReader(folder / JOURNAL, key) as reader:
        reader.drop_torn()
        return folded(json.loads(line) for line in b"".join(reader.read()).splitlines()), reader.owner


def read_index(folder: Path, key: bytes) -> Index:
    """The index of a recording. "unfinished" is true in that of one still running, or that crashed and was not recovered.

    Raises WrongKey, Tampered, OSError.
    """
    try:
        with SealedReader(folder / INDEX, key) as reader:
            index: Index = json.loads(reader.whole())
            owner = reader.owner
    except FileNotFoundError:
        index, owner = read_journal(folder, key)
        index["unfinished"] = True
    index["id"] = owner.hex()
    return index


def write_index(folder: Path, key: bytes, owner: bytes, index: Index) -> None:
    """All at once, never a half."""
    new = folder / f"{INDEX}.new"
    new.unlink(missing_ok=True)
    writer = SealedWriter.create(new, key, owner, INDEX)
    writer.finish(json.dumps(index, ensure_ascii=False, indent=1).encode())
    new.rename(folder / INDEX)
    sync_folder(folder)


def folders(root: Path) -> list[Path]:
    """The recordings right below `root`, by name and so by time; what is being deleted is none."""
    return sorted(path.parent for path in root.glob(f"*/{JOURNAL}") if path.parent.suffix != DELETED)


def sync_folder(folder: Path) -> None:
    """Makes new names in it last."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
