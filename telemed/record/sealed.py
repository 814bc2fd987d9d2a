"""Files encrypted piece by piece, so that they can be appended to, cut off by a crash, read from any place, and not be changed unseen.

header: "HHSEAL1\\n", 16 bytes id of what the file belongs to, 16 bytes salt, 8 bytes that tell a wrong key from a changed file
chunk:  4 bytes length (upper bit: the last one), 12 bytes nonce, ciphertext, 16 bytes tag

AES-256-GCM; a chunk's associated data is the header, its number and its length, so none can be dropped, repeated, swapped or
brought from another file.
The key is HKDF(setting, salt, id and the file's name). Nonces are random: after a crash a number may be written again with other content.
"""

import os
import secrets
import struct
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"HHSEAL1\n"
HEADER = 48  # bytes
NONCE, TAG = 12, 16
OVERHEAD = 4 + NONCE + TAG  # bytes a chunk costs
CHUNK = 16 << 20  # most bytes of plain text in one; a cluster of a recording fits, so that none is cut in two
LAST = 1 << 31
KEY_MIN = 16  # bytes; less is no key


class SealedError(Exception):
    """A sealed file that cannot be read."""


class WrongKey(SealedError):
    """It was sealed with another key, or is another file than its name says."""


class Tampered(SealedError):
    """It is not what was written."""


class Unfinished(SealedError):
    """It has no last chunk: its writer is still at work, died, or somebody cut the file."""


def _cipher(key: bytes, header: bytes, name: str) -> tuple[AESGCM, bytes]:
    if len(key) < KEY_MIN:
        raise ValueError(f"the key must have at least {KEY_MIN} bytes")
    # One derivation gives both the key and the check value, which says nothing about the key.
    made = HKDF(SHA256(), 40, salt=header[24:40], info=b"telemed sealed\0" + header[8:24] + name.encode()).derive(key)
    return AESGCM(made[:32]), made[32:]


class SealedWriter:
    """Appends to a sealed file. Not for two threads at once."""

    def __init__(self, file: int, path: Path, header: bytes, cipher: AESGCM) -> None:
        self._file, self._header, self._cipher = file, header, cipher
        self.path = path
        self.number = 0  # of the next chunk
        self.length = 0  # bytes of plain text
        self.size = HEADER  # bytes on disk

    @classmethod
    def create(cls, path: Path, key: bytes, owner: bytes, name: str = "") -> Self:
        """owner: 16 bytes, the id of what the file belongs to. name: what the file is there, by default the path's last part.

        Raises FileExistsError.
        """
        header = MAGIC + owner + secrets.token_bytes(16)
        cipher, check = _cipher(key, header, name or path.name)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        writer = cls(file, path, header + check, cipher)
        writer._write(header + check)
        return writer

    @classmethod
    def reopen(cls, path: Path, key: bytes, name: str = "") -> Self:
        """Goes on where a crash left off; a chunk that was not wholly written is cut away. Raises SealedError, also for a finished file."""
        with SealedReader(path, key, name) as reader:
            if reader.complete:
                raise SealedError(f"{path} is finished")
            reader.drop_torn()
            writer = cls(os.open(path, os.O_WRONLY | os.O_CLOEXEC), path, reader.header, reader.cipher)
            writer.number, writer.length, writer.size = len(reader.starts), reader.length, reader.end
        os.ftruncate(writer._file, writer.size)
        os.lseek(writer._file, writer.size, os.SEEK_SET)
        return writer

    def append(self, data: bytes) -> None:
        """Writes the data as one chunk, as several where it is long. It survives the process from here on, the machine from `sync` on."""
        for start in range(0, len(data), CHUNK):
            self._chunk(data[start : start + CHUNK], 0)

    def _chunk(self, data: bytes, flag: int) -> None:
        head = struct.pack(">I", len(data) | flag)
        nonce = secrets.token_bytes(NONCE)
        sealed = self._cipher.encrypt(nonce, data, self._header + struct.pack(">Q", self.number) + head)
        self._write(head + nonce + sealed)
        self.number += 1
        self.length += len(data)
        self.size += OVERHEAD + len(data)

    def _write(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):  # a full disk writes a part first and raises the next time
                written += os.write(self._file, data[written:])
        except OSError:
            if written:
                size = os.lseek(self._file, -written, os.SEEK_CUR)
                os.ftruncate(self._file, size)
            raise

    def sync(self) -> None:
        """Returns when all that was appended is on the disk."""
        os.fdatasync(self._file)

    def finish(self, data: bytes = b"") -> None:
        """Writes the last chunk, syncs and closes."""
        self.append(data[: len(data) // CHUNK * CHUNK])
        self._chunk(data[len(data) // CHUNK * CHUNK :], LAST)
        self.sync()
        self.close()

    def close(self) -> None:
        """Without a last chunk: `reopen` goes on."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class SealedReader:
    """Reads a sealed file, also one that is still written or was cut off.

    Opening looks at the chunks' lengths only; what is read is authenticated.
    """

    def __init__(self, path: Path, key: bytes, name: str = "") -> None:
        self._file = path.open("rb", buffering=0)
        self.path = path
        try:
            self.header = self._file.read(HEADER)
            if len(self.header) < HEADER or not self.header.startswith(MAGIC):
                raise Tampered(f"{path} does not begin as a sealed file")
            self.cipher, check = _cipher(key, self.header, name or path.name)
            if not secrets.compare_digest(check, self.header[40:]):
                raise WrongKey(f"{path} was sealed with another key or under another name")
            self._scan()
        except BaseException:
            self._file.close()
            raise

    def _scan(self) -> None:
        size = os.fstat(self._file.fileno()).st_size
        self.offsets: list[int] = []  # of the chunks, in the file
        self.starts: list[int] = []  # of their plain text
        self.length, self.complete, at = 0, False, HEADER
        while at + OVERHEAD <= size and not self.complete:
            head = int.from_bytes(os.pread(self._file.fileno(), 4, at), "big")
            length = head & ~LAST
            if length > CHUNK:
                break  # nobody wrote that: told apart from a torn end by `torn`
            if at + OVERHEAD + length > size:
                break
            self.offsets.append(at)
            self.starts.append(self.length)
            self.length += length
            self.complete = bool(head & LAST)
            at += OVERHEAD + length
        self.end = at
        self.torn = size - at  # bytes after the last whole chunk
        if self.complete and self.torn:
            raise Tampered(f"{self.path} goes on after its last chunk")

    @property
    def owner(self) -> bytes:
        """16 bytes id."""
        return self.header[8:24]

    def drop_torn(self) -> None:
        """Forgets a last chunk that does not authenticate: after a power failure its place may be there without its content."""
        if self.offsets:
            try:
                self.chunk(len(self.offsets) - 1)
            except Tampered:
                self.torn += self.end - self.offsets[-1]
                self.end, self.length, self.complete = self.offsets.pop(), self.starts.pop(), False

    def chunk(self, number: int) -> bytes:
        """The plain text of one chunk. Raises Tampered."""
        at = self.offsets[number]
        following = self.offsets[number + 1] if number + 1 < len(self.offsets) else self.end
        data = os.pread(self._file.fileno(), following - at, at)
        try:
            return self.cipher.decrypt(data[4 : 4 + NONCE], data[4 + NONCE :], self.header + struct.pack(">Q", number) + data[:4])
        except InvalidTag:
            raise Tampered(f"{self.path}: chunk {number} is not what was written") from None

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Plain text from `start` to `stop` (exclusive) in pieces. Raises Tampered at the first chunk that was changed."""
        stop = self.length if stop is None else min(stop, self.length)
        number = max(0, bisect_right(self.starts, start) - 1)
        while start < stop:
            data = self.chunk(number)
            at = self.starts[number]
            piece = data[start - at : stop - at]
            if piece:
                yield piece
            start = at + len(data)
            number += 1

    def whole(self) -> bytes:
        """All of a finished file. Raises Unfinished, Tampered."""
        if not self.complete:
            raise Unfinished(f"{self.path} has no end")
        # Read every chunk, also an empty last one: its mark counts only once authenticated.
        return b"".join(self.chunk(n) for n in range(len(self.offsets)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
