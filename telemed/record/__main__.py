"""Command line: python -m telemed.record list|play|index|recover|delete.

The key is read from a file or the variable TELEMED_RECORD_KEY, never from an argument.
"""

import argparse
import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from telemed.record.delete import clean, delete, expire
from telemed.record.index import folders, read_index
from telemed.record.play import play
from telemed.record.recording import Busy, recover
from telemed.record.sealed import SealedError

VARIABLE = "TELEMED_RECORD_KEY"


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser("python -m telemed.record", description=f"Recordings of consultations. The key: --key-file or {VARIABLE}.")
    commands = p.add_subparsers(dest="command", required=True)
    many = commands.add_parser("list", help="print a line for each recording of a directory (TELEMED_RECORDINGS)")
    many.add_argument("folder", type=Path)
    one = commands.add_parser("play", help="decrypt into plain files that any player opens")
    one.add_argument("folder", type=Path)
    one.add_argument("out", type=Path, help="folder for the files; they are not encrypted")
    for name, text in (("index", "print what a recording holds"), ("recover", "finish a recording whose process died")):
        commands.add_parser(name, help=text).add_argument("folder", type=Path)
    gone = commands.add_parser("delete", help="delete recordings for good, whole ones only; needs no key unless --days is given")
    gone.add_argument("folder", type=Path, help="of one recording; with --days the directory of all (TELEMED_RECORDINGS)")
    gone.add_argument("--days", type=_days, help="those that ended more days ago than this")
    for command in commands.choices.values():
        command.add_argument("--key-file", type=Path, help=f"file with the key, otherwise {VARIABLE}")
    return p


def _days(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise ValueError(text)
    return value


def _delete(folder: Path, days: float | None, key: bytes) -> int:
    if days is None:
        size = delete(folder)
        print(f"{folder.name}: {size} bytes")
        return 0
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    clean(folder)
    passed: set[str] = set()
    for name, _ in expire(folder, key, days, datetime.now(UTC), passed):
        print(name, flush=True)
    return 1 if passed else 0


def listed(root: Path, key: bytes) -> tuple[list[str], list[str]]:
    """A line for each recording right below `root`, by name and so by time, and one for each that cannot be read."""
    lines, problems = ["\t".join(("folder", "started", "seconds", "state", "tracks", "room", "participants"))], []
    for folder in folders(root):
        try:
            index = read_index(folder, key)
        except (SealedError, OSError, ValueError) as error:
            problems.append(f"{folder.name}: {type(error).__name__}: {error}")
            continue
        files = sum(1 for track in index["tracks"] if track.get("file"))
        state = "unfinished" if index.get("unfinished") else str(index.get("why", ""))
        who = ",".join(p["participant"] for p in index["participants"])
        lines.append("\t".join((folder.name, index["started"], str(index.get("seconds", "")), state, str(files), index["room"], who)))
    return lines, problems


def main(arguments: list[str] | None = None) -> int:
    """0; 1 where a file is not what was written; 2 where nothing could be read."""
    a = parser().parse_args(arguments)
    try:
        text = a.key_file.read_text("utf-8").strip() if a.key_file else os.environ.get(VARIABLE, "")
        if not text and (a.command != "delete" or a.days is not None):
            raise ValueError(f"no key: give --key-file or set {VARIABLE}")
        key = text.encode()
        if a.command == "delete":
            return _delete(a.folder, a.days, key)
        if a.command == "list":
            lines, problems = listed(a.folder, key)
            print("\n".join(lines))
            for problem in problems:
                print(problem, file=sys.stderr)
            return 1 if problems else 0
        if a.command == "play":
            _, problems = play(a.folder, a.out, key)
            for problem in problems:
                print(problem, file=sys.stderr)
            return 1 if problems else 0
        index = read_index(a.folder, key) if a.command == "index" else recover(a.folder, key)
        print(json.dumps(index, ensure_ascii=False, indent=1))
    except (SealedError, Busy, OSError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
