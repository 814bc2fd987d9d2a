"""The end of recordings: one that is deleted is whole until a single rename, and gone after it, whatever stops in between."""

import contextlib
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from telemed.record.index import DELETED, INDEX, JOURNAL, Index, folders, read_index, sync_folder
from telemed.record.recording import Busy
from telemed.record.sealed import SealedError

log = logging.getLogger(__name__)


def delete(folder: Path) -> int:
    """Deletes one recording for good; how many bytes of disk that freed. The key is not needed.

    Raises Busy where it runs, or crashed and was not recovered; FileNotFoundError where there is none; OSError.
    """
    with _alone(folder):
        if not (folder / INDEX).exists():
            raise Busy(f"{folder} is unfinished: recover it first")
        gone = folder.with_name(folder.name + DELETED)
        folder.rename(gone)
    sync_folder(folder.parent)
    return _clear(gone)


def clean(root: Path) -> int:
    """Takes away what deletions that were cut off have left; how many they were. Raises OSError."""
    left = [path for path in root.glob(f"*{DELETED}") if path.is_dir() and not path.is_symlink()]
    for path in left:
        _clear(path)
    return len(left)


def expired(root: Path, key: bytes, days: float, now: datetime, passed: set[str]) -> list[tuple[Path, Index]]:
    """Whole recordings that ended more than `days` ago, the oldest first.

    passed: names of those that are not looked at, which gets those that cannot be read: each is told of once, and kept.
    """
    found = []
    for folder in folders(root):
        if folder.name in passed or _young(folder.name, now - timedelta(days=days)) or not (folder / INDEX).exists():
            continue
        try:
            index = read_index(folder, key)
            ended = datetime.fromisoformat(index["stopped"])
            if ended + timedelta(days=days) < now:
                found.append((ended, folder, index))
        except FileNotFoundError:
            continue  # somebody else deletes it
        except (SealedError, OSError, ValueError, KeyError, TypeError) as error:
            log.warning("recording %s is kept, since it cannot be read: %s", folder.name, error)
            passed.add(folder.name)
    return [(folder, index) for _, folder, index in sorted(found, key=lambda one: one[0])]


def expire(root: Path, key: bytes, days: float, now: datetime, passed: set[str]) -> Iterator[tuple[str, Index]]:
    """Deletes what `expired` finds, one by one with a line in the log each; gives name and index of what is gone. Raises OSError."""
    old = expired(root, key, days, now, passed)
    if old:
        log.info("%d recordings are older than %g days and will be deleted", len(old), days)
    freed = count = 0
    for number, (folder, index) in enumerate(old, 1):
        try:
            freed += delete(folder)
        except FileNotFoundError:
            continue  # another relay that shares the folder was first
        except Busy:
            continue  # somebody reads its journal or recovers it; at the next look
        except OSError as error:
            log.error("recording %s cannot be deleted: %s", folder.name, error)
            continue
        count += 1
        log.info("recording %s, ended %s, is deleted (%d of %d)", folder.name, index["stopped"], number, len(old))
        yield folder.name, index
    if old:
        log.info("%d of %d old recordings are deleted, %d bytes freed", count, len(old), freed)


def _young(name: str, before: datetime) -> bool:
    """It cannot have ended before that, by the time of its start in its name: its index need not be opened."""
    with contextlib.suppress(ValueError):
        return datetime.strptime(name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) > before
    return False


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    lock = os.open(folder / JOURNAL, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"{folder} is still being written") from None
        yield
    finally:
        os.close(lock)


def _clear(gone: Path) -> int:
    """A relay that shares the folder may be at it too: what it leaves is taken at the next look."""
    size = 0
    with contextlib.suppress(FileNotFoundError):
        size = sum(path.lstat().st_size for path in gone.iterdir())
        shutil.rmtree(gone)
    return size
