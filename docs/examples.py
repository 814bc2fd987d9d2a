"""Runs the commands of a document against a demo server and holds their output to what stands under them.

A block of `sh` that uses $B is followed by a block with its output. `…` alone on a line stands for any lines, at the end of a
line for its rest.
Times, ids given by the server, page tokens and the port are not compared.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import fields

from health_hub.settings import PREFIX, Settings

GAP = "…"
_BLOCKS = re.compile(r"^```sh\n(.*?)\n```\n\n```\w+\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
_LIMITS = re.compile(r"(<!-- limits -->\n).*?(<!-- /limits -->)", re.DOTALL)
_VARIES = [
    (re.compile(r"127\.0\.0\.1:\d+"), "HOST"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,3}(\+\d\d:\d\d)?"), "INSTANT"),
    (re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"), "DATE"),
    (re.compile(r"\b[0-9a-f]{24}\b"), "ID"),
    (re.compile(r"(_page=|_job/)[\w-]+"), r"\1TOKEN"),
]
SHOWN = ("max_", "count_", "conditional_", "bundle_", "everything_", "lastn_", "graphql_", "timeout", "async_")


def examples(text: str) -> Iterator[tuple[str, str]]:
    """Commands and the output written under them, in order."""
    for command, output in _BLOCKS.findall(text):
        if "$B" in command:
            yield command, output


def run(command: str, base: str) -> str:
    shell, environment = ["bash", "-c", command], {**os.environ, "B": base}
    done = subprocess.run(shell, env=environment, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    return done.stdout.replace("\r", "").rstrip()


def missing(written: str, real: str) -> str | None:
    """The first line of the written output that the real one does not have where it should; None when all agree."""
    lines = [_steady(line) for line in real.split("\n")]
    at, gap = 0, False
    for line in written.split("\n"):
        if line.strip() == GAP:
            gap = True
            continue
        wanted = _steady(line)
        while gap and at < len(lines) and not _same(wanted, lines[at]):
            at += 1
        if at == len(lines) or not _same(wanted, lines[at]):
            return line
        at, gap = at + 1, False
    return None if gap or at == len(lines) else f"(nothing, but there is: {lines[at]})"


def _steady(line: str) -> str:
    for pattern, name in _VARIES:
        line = pattern.sub(name, line)
    return line


def _same(wanted: str, line: str) -> bool:
    return line.startswith(wanted[:-1]) if wanted.endswith(GAP) else line == wanted


def limits() -> str:
    """The table of settings that bound what a client may do."""
    out = ["| setting | default | what |", "| --- | --- | --- |"]
    for f in fields(Settings):
        if f.name.startswith(SHOWN):
            out.append(f"| `{PREFIX}{f.name.upper()}` | `{f.default}` | {f.metadata['help']} |")
    return "\n".join(out) + "\n"


def with_limits(text: str) -> str:
    """The document with today's table of limits between its marks."""
    return _LIMITS.sub(lambda m: m[1] + limits() + m[2], text)
