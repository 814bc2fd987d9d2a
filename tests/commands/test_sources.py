"""What load finds in files of every kind, and in damaged ones."""

import gzip
import json
import lzma
import tarfile
from pathlib import Path

import pytest

from health_hub.commands.sources import Broken, Item, SourceError, Sources, Whole, pieces

PATIENT = {"resourceType": "Patient", "id": "p1", "multipleBirthInteger": 1}
ENTRY = {"resource": PATIENT, "request": {"method": "PUT", "url": "Patient/p1"}}
TRANSACTION = {"resourceType": "Bundle", "type": "transaction", "entry": [ENTRY]}
NDJSON = b'{"resourceType":"Patient","id":"a","x":1.00}\n\n{"resourceType":"Patient"}\nnonsense\n'


def read(*paths: Path) -> list[list[object]]:
    with Sources(list(paths)) as found:
        return [[p for p, _ in pieces(s)] for s in found]


@pytest.mark.parametrize("pack", [lambda b: b, gzip.compress, lzma.compress], ids=["plain", "gz", "xz"])
def test_lines_plain_and_packed(tmp_path: Path, pack: object) -> None:
    path = tmp_path / "Patient.ndjson.any"
    path.write_bytes(pack(NDJSON))  # type: ignore[operator]
    [[one, two, three]] = read(path)
    # The resource's own bytes go on as they are.
    assert one == Item(1, b'{"resource":{"resourceType":"Patient","id":"a","x":1.00},"request":{"method":"PUT","url":"Patient/a"}}')
    assert two == Item(3, b'{"resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}}')
    assert isinstance(three, Broken)
    assert three.number == 4


def test_a_transaction_goes_as_its_bytes_stand(tmp_path: Path) -> None:
    body = json.dumps(TRANSACTION, indent=2).encode()
    (tmp_path / "x.json").write_bytes(body)
    assert read(tmp_path) == [[Whole(0, body, 1)]]


def test_batch_and_collection_are_entries(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(TRANSACTION | {"type": "batch"}))
    (tmp_path / "b.json").write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": PATIENT}, {}]}))
    [batch, collection] = read(tmp_path)
    assert [json.loads(i.entry) for i in batch] == TRANSACTION["entry"]  # type: ignore[attr-defined]
    assert isinstance(collection[0], Item)
    assert collection[1] == Broken(2, "an entry without a resource")


def test_hospitals_and_practitioners_go_first_also_out_of_a_tar(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    order = ["hospitalInformation1.json", "practitionerInformation1.json", "Patient.ndjson", "Anna.json", "Observation.ndjson"]
    for name in (*reversed(order), "notes.txt"):
        (inside / name).write_text(json.dumps(PATIENT))
    with tarfile.open(tmp_path / "all.tar.xz", "w:xz") as tar:
        tar.add(inside, "../../etc")  # names that lead out of the folder lead nowhere
    with Sources([tmp_path / "all.tar.xz"]) as found:
        names = [s.name.rsplit("/", 1)[-1] for s in found]
        assert all(s.path.exists() for s in found)
    assert names == order
    assert not any(s.path.exists() for s in found)


def test_a_file_cut_short_gives_what_was_there(tmp_path: Path) -> None:
    lines = b"".join(b'{"resourceType":"Patient","id":"p%d"}\n' % n for n in range(5000))
    (tmp_path / "x.ndjson.gz").write_bytes(gzip.compress(lines)[:-2000])
    [found] = read(tmp_path / "x.ndjson.gz")
    assert len(found) > 100
    assert isinstance(found[-1], Broken)


@pytest.mark.parametrize("name", ["absent.json", "."])
def test_nothing_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError):
        read(tmp_path / name)


def test_not_a_tar(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"no tar")
    with pytest.raises(SourceError):
        read(tmp_path / "x.tar.gz")
