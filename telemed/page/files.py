"""The files of the page, read once and kept in memory plain and packed: a commune on 3G should not wait for spaces and comments."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    packed: bytes  # gzip (RFC 1952)
    type: str
    etag: str


@dataclass(frozen=True, slots=True)
class Files:
    named: dict[str, File]
    version: str  # changes when any of them does
    template: str  # room.html, with its places to fill


@cache
def files() -> Files:
    """As they were when first asked for."""
    named, all_of_them = {}, hashlib.sha256()
    for path in sorted(FOLDER.iterdir()):
        if path.suffix not in TYPES:
            continue
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:16]
        all_of_them.update(f"{path.name} {digest}\n".encode())
        named[path.name] = File(content, gzip.compress(content, 9, mtime=0), TYPES[path.suffix], f'"{digest}"')
    template = named.pop("room.html").content.decode()
    return Files(named, all_of_them.hexdigest()[:12], template)
