"""The official package and Synthea's records for tests of the profiles."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from health_hub.fhir.json import loads

DATA = Path(os.environ.get("HEALTH_HUB_DATA") or Path(__file__).parents[3] / "shared" / "data")
PACKAGE = "hl7.fhir.r4.core.tgz"


def path(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"HEALTH_HUB_DATA has no {name}")
    return DATA / name


def _files(name: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path(name)) as tar:
        for member in tar:
            stream = tar.extractfile(member)
            if stream:
                yield member.name, stream.read()


def package() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every resource of the official package, with its file name."""
    for name, data in _files(PACKAGE):
        if name.endswith(".json") and name.count("/") == 1:
            resource = loads(data)
            if "resourceType" in resource:
                yield name.rpartition("/")[2], resource


def synthea_bundles() -> Iterator[dict[str, Any]]:
    for _, data in _files("synthea-24-patients.tar.xz"):
        yield loads(data)


def synthea_lines() -> Iterator[dict[str, Any]]:
    for name, data in _files("synthea-bulk-10.tar.xz"):
        if name.endswith(".ndjson"):
            yield from map(loads, data.splitlines())
