"""What `load` finds in files: plain, .gz or .xz; JSON or NDJSON; single, in folders or in tars; in the order it has to go in."""

import gzip
import hashlib
import lzma
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import msgspec

from health_hub.settings import SettingError

LARGEST = 256 << 20  # bytes of one document or line; what is larger is refused, not read
_TAR = re.compile(r"\.(tar|tgz|txz)(\.gz|\.xz)?\Z", re.IGNORECASE)
_DATA = re.compile(r"\.(json|ndjson|jsonl)(\.gz|\.xz)?\Z", re.IGNORECASE)
_LINES = re.compile(r"\.(ndjson|jsonl)(\.gz|\.xz)?\Z", re.IGNORECASE)
# Patients' bundles refer to these by conditional references, so they go first (Synthea's names; NDJSON's by type).
_SHARED = (
    re.compile(r"(hospital|organization)", re.IGNORECASE),
    re.compile(r"(location)", re.IGNORECASE),
    re.compile(r"(practitioner)", re.IGNORECASE),
    re.compile(r"(patient)\.", re.IGNORECASE),
)


class Whole(NamedTuple):
    """A transaction Bundle, sent as its bytes stand. `number`: its line, 0 for a file that is one document."""

    number: int
    body: bytes
    resources: int


class Item(NamedTuple):
    """One resource or batch entry, as an entry of a transaction; its order among its neighbours means nothing."""

    number: int
    entry: bytes


class Broken(NamedTuple):
    """What cannot be sent at all, and why."""

    number: int
    why: str


Piece = Whole | Item | Broken


@dataclass(frozen=True, slots=True)
class Source:
    """One file. `digest` is that of its content as stored: the same file under another name is the same load."""

    name: str
    path: Path
    digest: str
    size: int
    rank: int


class _Head(msgspec.Struct, rename={"resource_type": "resourceType"}):
    resource_type: str
    type: Any = None
    id: Any = None


class _BundleHead(msgspec.Struct):
    entry: list[msgspec.Raw] = []


class _Entry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw(b"")


_head = msgspec.json.Decoder(_Head)
_bundle = msgspec.json.Decoder(_BundleHead)
_entry = msgspec.json.Decoder(_Entry)


class SourceError(SettingError):
    """A path that holds nothing to load."""


class Sources:
    """Every file under some paths, tars unpacked; a context manager, because of the unpacked copies."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __enter__(self) -> list[Source]:
        self._temporary = tempfile.TemporaryDirectory(prefix="health-hub-load-")
        try:
            found = [source for path in self._paths for source in self._find(path)]
        except BaseException:
            self._temporary.cleanup()
            raise
        return sorted(found, key=lambda s: (s.rank, s.name))

    def __exit__(self, *error: object) -> None:
        self._temporary.cleanup()

    def _find(self, path: Path) -> Iterator[Source]:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and (_DATA.search(p.name) or _TAR.search(p.name)))
            if not inside:
                raise SourceError(f"{path}: no .json, .ndjson or .tar file (plain, .gz or .xz) in this folder")
            for p in inside:
                yield from self._find(p)
        elif not path.is_file():
            raise SourceError(f"{path}: no such file or folder")
        elif _TAR.search(path.name):
            yield from self._unpack(path)
        else:
            yield _source(str(path), path)

    def _unpack(self, path: Path) -> Iterator[Source]:
        """Members go to numbered files: their own names, which could lead anywhere, are for people only."""
        try:
            with tarfile.open(path) as tar:
                for n, member in enumerate(tar):
                    stream = tar.extractfile(member) if member.isfile() and _DATA.search(member.name) else None
                    if stream is None:
                        continue
                    name = PurePosixPath(member.name).name
                    copy = Path(tempfile.mkdtemp(dir=self._temporary.name)) / f"{n}{''.join(PurePosixPath(name).suffixes[-2:])}"
                    with copy.open("wb") as out:
                        while piece := stream.read(1 << 20):
                            out.write(piece)
                    yield _source(f"{path}:{member.name}", copy)
        except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, OSError) as e:
            raise SourceError(f"{path}: not a readable tar ({e})") from e


def _source(name: str, path: Path) -> Source:
    with path.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    base = re.split(r"[/:]", name)[-1]
    rank = next((n for n, pattern in enumerate(_SHARED) if pattern.match(base)), len(_SHARED))
    return Source(name, path, digest, path.stat().st_size, rank)


def shared_ranks() -> int:
    """Sources below this rank are finished, rank by rank, before the others begin."""
    return len(_SHARED)


def lines(source: Source) -> bool:
    """Whether its name says NDJSON: lines mean nothing to each other."""
    return bool(_LINES.search(source.path.name))


def _plain(raw: BufferedReader) -> IO[bytes]:
    """The content of a file that may be packed; its first bytes say so, not its name."""
    magic = raw.peek(6)
    if magic[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    if magic[:6] == b"\xfd7zXZ\x00":
        return lzma.LZMAFile(raw)
    return raw


def pieces(source: Source) -> Iterator[tuple[Piece, int]]:
    """What a file holds, in order, with the bytes read so far. A damaged file gives what was readable, then says where it broke."""
    try:
        with source.path.open("rb") as raw:
            for piece in _pieces(source, raw):
                yield piece, raw.tell()
    except OSError as e:
        yield Broken(0, f"the file is not readable: {e}"), source.size


def _pieces(source: Source, raw: BufferedReader) -> Iterator[Piece]:
    number = 0
    try:
        with _plain(raw) as f:
            first = f.readline(LARGEST)
            if lines(source) or (_complete(first) and any(x.strip() for x in iter(lambda: f.readline(LARGEST), b""))):
                f.seek(0)
                while line := f.readline(LARGEST):
                    number += 1
                    if len(line) == LARGEST:
                        yield Broken(number, f"a line of more than {LARGEST:,} bytes")
                        return
                    if line.strip():
                        yield from _document(line, number)
                return
            body = first + f.read(LARGEST)
            if len(body) >= LARGEST:
                yield Broken(0, f"a document of more than {LARGEST:,} bytes")
                return
            yield from _document(body, 0)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as e:
        yield Broken(number + 1 if number else 0, f"the file is damaged or not readable: {e}")


def _complete(line: bytes) -> bool:
    try:
        _head.decode(line)
    except msgspec.MsgspecError:
        return False
    return True


def _document(body: bytes, number: int) -> Iterator[Piece]:
    """One JSON document. Entries of a document are numbered from 1; a line's own resource has the line's number."""
    body = body.removeprefix(b"\xef\xbb\xbf").strip()
    try:
        head = _head.decode(body)
        if head.resource_type != "Bundle" or head.type in ("document", "message"):
            yield Item(number or 1, _put(head, body))
            return
        entries = _bundle.decode(body).entry
        if head.type == "transaction":
            yield Whole(number, body, len(entries))
        elif number:
            yield Broken(number, f"a Bundle of type {head.type!r} in one line; only transactions can stand there")
        else:
            for n, raw in enumerate(entries, 1):
                yield _batch_entry(n, raw, head.type == "batch")
    except msgspec.MsgspecError as e:
        yield Broken(number, f"not a FHIR resource in JSON: {e}")


def _batch_entry(n: int, raw: msgspec.Raw, batch: bool) -> Piece:
    if batch:
        return Item(n, bytes(raw))
    try:
        entry = _entry.decode(raw)
        body = bytes(entry.resource)
        if not body:
            return Broken(n, "an entry without a resource")
        return Item(n, _put(_head.decode(body), body))
    except msgspec.MsgspecError as e:
        return Broken(n, f"not a FHIR resource in JSON: {e}")


def _put(head: _Head, body: bytes) -> bytes:
    """A resource under its own id, or a new one where it has none."""
    if isinstance(head.id, str) and head.id:
        request = {"method": "PUT", "url": f"{head.resource_type}/{head.id}"}
    else:
        request = {"method": "POST", "url": head.resource_type}
    return b'{"resource":%b,"request":%b}' % (body, msgspec.json.encode(request))
