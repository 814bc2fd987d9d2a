"""A recording into plain files that any player opens."""

import hashlib
import json
from pathlib import Path
from typing import Any

from telemed.record.index import Index, read_index
from telemed.record.sealed import SealedError, SealedReader, Tampered


def play(folder: Path, out: Path, key: bytes) -> tuple[Index, list[str]]:
    """Decrypts into `out`: a file a track and index.json. Also of a recording that still runs, as far as it is.

    Returns the index and a line for each file that is not what was written; nothing is kept of such a one.

    Raises WrongKey, Tampered (the index), OSError.
    """
    index = read_index(folder, key)
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    problems = []
    for track in index["tracks"]:
        if track.get("file"):
            try:
                _track(folder, out, key, index, track)
            except (SealedError, FileNotFoundError) as error:
                (out / track["file"]).unlink(missing_ok=True)
                problems.append(f"{track['file']}: {error}")
        for name in ("patches", "cues", "state"):
            track.pop(name, None)
    (out / "index.json").write_text(json.dumps(index, ensure_ascii=False, indent=1), "utf-8")
    return index, problems


def _track(folder: Path, out: Path, key: bytes, index: Index, track: dict[str, Any]) -> None:
    path = folder / track["file"]
    digest = hashlib.sha256()
    with SealedReader(path, key) as reader, (out / track["file"]).open("wb") as file:
        if reader.owner.hex() != index["id"]:
            raise Tampered(f"{path} is of another recording")
        for piece in reader.read():
            digest.update(piece)
            file.write(piece)
        if reader.complete:
            reader.chunk(len(reader.offsets) - 1)  # an empty last one too says that this is the end
        if "sha256" in track and (not reader.complete or digest.hexdigest() != track["sha256"]):
            raise Tampered(f"{path} is not what the index says")
        for at, data in track.get("patches", []):
            file.seek(at)
            file.write(bytes.fromhex(data))
    with (out / track["file"]).open("rb") as file:
        track["played_sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
