"""The finished recordings of a folder: which are of a room, and their tracks as plain bytes, decrypted as they are asked for."""

import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from telemed.record.index import INDEX, Index, folders, read_index
from telemed.record.sealed import SealedError, SealedReader, Tampered

log = logging.getLogger(__name__)
NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
PIECE = 256 << 10  # bytes given out at a time
TYPES = {".webm": "webm", ".mp4": "mp4"}
_TOLD = ("track", "participant", "kind", "codec", "file", "offset", "seconds", "bytes", "width", "height", "device")


class Kept:
    """For threads: its methods read the disk. Remembers of each recording which room it is of, so that a list opens only the room's."""

    def __init__(self, root: Path, key: bytes) -> None:
        self._root, self._key = root, key
        self._rooms: dict[str, str] = {}  # name -> room; "" of one that cannot be read
        self._lock = threading.Lock()

    def of_room(self, room: str) -> list[dict[str, Any]]:
        """Those that are whole, the newest first, as who may see them is told (docs/telemed-recording.md). Raises OSError."""
        with self._lock:
            names = self._known()
            ours = [name for name in names if names[name] == room]
        found = []
        for name in sorted(ours, reverse=True):
            try:
                found.append(told(name, read_index(self._root / name, self._key)))
            except (SealedError, OSError, KeyError):  # deleted meanwhile, or changed on the disk
                log.warning("recording %s cannot be listed", name, exc_info=True)
        return found

    def _known(self) -> dict[str, str]:
        there = [folder for folder in folders(self._root) if NAME.fullmatch(folder.name) and (folder / INDEX).exists()]
        for gone in self._rooms.keys() - {folder.name for folder in there}:
            del self._rooms[gone]
        for folder in there:
            if folder.name not in self._rooms:
                try:
                    self._rooms[folder.name] = str(read_index(folder, self._key)["room"])
                except FileNotFoundError:
                    continue
                except (SealedError, OSError, ValueError, KeyError) as error:
                    log.warning("recording %s cannot be read: %s", folder.name, error)
                    self._rooms[folder.name] = ""
        return self._rooms

    def index(self, room: str, name: str) -> Index:
        """Of a whole recording of that room. Raises LookupError (also for another room's), SealedError, OSError."""
        if not NAME.fullmatch(name) or not (self._root / name / INDEX).exists():
            raise LookupError(name)
        try:
            index = read_index(self._root / name, self._key)
        except FileNotFoundError:
            raise LookupError(name) from None
        if index["room"] != room or index.get("unfinished"):
            raise LookupError(name)
        return index

    def track(self, room: str, name: str, file: str) -> "Plain":
        """To be closed. Raises as `index`, and Tampered where the file is not the one that the index names."""
        index = self.index(room, name)
        found = next((t for t in index["tracks"] if t.get("file") == file and file), None)
        if found is None:
            raise LookupError(file)
        return Plain(self._root / name / file, self._key, index["id"], found)


def told(name: str, index: Index) -> dict[str, Any]:
    """What a list says of a recording: no cues, no sums, only tracks that have something to play."""
    tracks = [{k: t[k] for k in _TOLD if k in t} for t in index["tracks"] if t.get("file") and not t.get("problem")]
    return {
        "name": name, "started": index["started"], "stopped": index["stopped"], "why": index["why"], "tracks": tracks,
        "seconds": index.get("seconds") or max((t.get("offset", 0) + t.get("seconds", 0) for t in tracks), default=0),
        "participants": [p["participant"] for p in index["participants"]],
    }  # fmt: skip


class Plain:
    """A track's file as a player is to see it: what was sealed, with the lengths and cues that its end made known written over it."""

    def __init__(self, path: Path, key: bytes, owner: str, track: dict[str, Any]) -> None:
        """Raises FileNotFoundError, SealedError."""
        self._reader = SealedReader(path, key)
        self._patches = [(at, bytes.fromhex(data)) for at, data in track.get("patches", ())]
        self.length = self._reader.length
        self.type = f"{track['kind']}/{TYPES.get(path.suffix, 'webm')}"
        self.etag = f'"{owner}-{path.name}"'
        try:
            if self._reader.owner.hex() != owner or not self._reader.complete or self.length != track.get("bytes"):
                raise Tampered(f"{path} is not what the index says")
            self._reader.chunk(len(self._reader.offsets) - 1)  # authenticates that it ends there
        except BaseException:
            self.close()
            raise

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """From `start` to `stop` (exclusive). Raises Tampered at the first piece that was changed on the disk."""
        gathered, at = bytearray(), start
        for piece in self._reader.read(start, stop):
            gathered += piece
            while len(gathered) >= PIECE:
                yield self._patched(at, gathered[:PIECE])
                del gathered[:PIECE]
                at += PIECE
        if gathered:
            yield self._patched(at, gathered)

    def _patched(self, at: int, piece: bytearray) -> bytes:
        for where, data in self._patches:
            first, last = max(where, at), min(where + len(data), at + len(piece))
            if first < last:
                piece[first - at : last - at] = data[first - where : last - where]
        return bytes(piece)

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
