"""Synthea's records for the oracle: a few whole patients as transactions with what they refer to, and some lines of each bulk type."""

import json
import os
import re
import tarfile
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

DATA = Path(os.environ.get("HEALTH_HUB_DATA") or Path(__file__).parents[3] / "shared" / "data")
PATIENTS = 2
LINES = 60


def _open(name: str) -> tarfile.TarFile:
    if not (DATA / name).exists():
        pytest.skip(f"HEALTH_HUB_DATA has no {name}")
    return tarfile.open(DATA / name)


def bundles() -> list[dict[str, Any]]:
    """Transaction Bundles in the order they have to go in."""
    with _open("synthea-24-patients.tar.xz") as tar:
        read = {m.name.rsplit("/", 1)[-1]: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]
    shared = {n: b for n, b in read.items() if "Information" in n}
    small = sorted((n for n in read if n not in shared), key=lambda n: len(read[n]))[:PATIENTS]
    patients = [read[n] for n in small]
    named = set(re.findall(rb'"(?:Organization|Location|Practitioner)\?identifier=[^"|]*\|([^"]*)"', b"".join(patients)))
    chosen = []
    for name in sorted(shared):  # hospitals before practitioners
        for entry in json.loads(shared[name])["entry"]:
            if {i["value"].encode() for i in entry["resource"].get("identifier", ())} & named:
                chosen.append(entry)
    return [{"resourceType": "Bundle", "type": "transaction", "entry": chosen}, *map(json.loads, patients)]


def lines() -> list[dict[str, Any]]:
    """Resources of every bulk type."""
    out: list[dict[str, Any]] = []
    with _open("synthea-bulk-10.tar.xz") as tar:
        for member in tar:
            if member.name.endswith(".ndjson"):
                stream = tar.extractfile(member)
                assert stream
                out += [json.loads(line) for line in islice(stream, LINES)]
    # What others refer to by a condition goes first.
    order = ("Organization", "Location", "Practitioner")
    return sorted(out, key=lambda r: order.index(r["resourceType"]) if r["resourceType"] in order else len(order))
