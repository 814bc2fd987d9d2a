"""Loading: what is refused is found entry by entry, what was loaded is not loaded again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from health_hub.commands import load
from health_hub.commands.doors import Answer, Unreachable
from health_hub.commands.sources import Sources


class Door:
    """Takes transactions and refuses those with a resource named bad; `down` first requests find nobody."""

    def __init__(self, down: int = 0) -> None:
        self.taken: list[str] = []
        self.marks: set[str] = set()
        self.posts, self.down = 0, down

    async def post(self, bundle: bytes, mark: str) -> Answer:
        self.posts += 1
        if self.posts <= self.down:
            raise Unreachable("refused")
        ids = [e["resource"]["id"] for e in json.loads(bundle)["entry"]]
        if any(i.startswith("bad") for i in ids):
            issue = {"severity": "error", "code": "invalid", "diagnostics": "it is bad", "expression": ["Bundle.entry[0].resource.id"]}
            return Answer(400, json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode())
        self.taken += ids
        self.marks.add(mark)
        return Answer(200, b"{}")

    async def marked(self, names: Sequence[str]) -> set[str]:
        return self.marks.intersection(names)

    async def mark(self, name: str) -> None:
        self.marks.add(name)

    async def close(self) -> None:
        pass


def lines(path: Path, *ids: str) -> Path:
    path.write_text("".join(json.dumps({"resourceType": "Patient", "id": i}) + "\n" for i in ids))
    return path


async def run(door: Any, *paths: Path) -> load.Report:
    with Sources(list(paths)) as found:
        return await load.load(door, found, quiet=True)


async def test_one_bad_entry_does_not_stop_the_others(tmp_path: Path) -> None:
    ids = [f"p{n}" for n in range(250)]
    ids[137] = "bad137"
    door = Door()
    report = await run(door, lines(tmp_path / "Patient.ndjson", *ids))
    assert (report.loaded, report.skipped) == (249, 0)
    assert sorted(door.taken) == sorted(set(ids) - {"bad137"})
    [failure] = report.failures
    assert (failure.number, failure.status) == (138, 400)
    assert failure.lines()[1] == "    invalid: it is bad [Bundle.entry[0].resource.id]"


async def test_a_second_run_skips_what_was_loaded(tmp_path: Path) -> None:
    path = lines(tmp_path / "Patient.ndjson", *(f"p{n}" for n in range(250)), "bad")
    door = Door()
    await run(door, path)
    taken = len(door.taken)
    again = await run(door, path.rename(tmp_path / "other-name.ndjson"))
    assert (again.loaded, again.skipped, len(again.failures)) == (0, 250, 1)
    assert len(door.taken) == taken


async def test_a_whole_file_done_is_not_sent_at_all(tmp_path: Path) -> None:
    path = lines(tmp_path / "Patient.ndjson", "a", "b")
    door = Door()
    await run(door, path)
    posts = door.posts
    assert (await run(door, path)).skipped == 2
    assert door.posts == posts


async def test_a_load_that_was_stopped_goes_on(tmp_path: Path) -> None:
    path = lines(tmp_path / "Patient.ndjson", *(f"p{n}" for n in range(400)))
    door = Door()
    await run(door, path)
    # As if it had been killed after the second hundred.
    door.marks = {m for m in door.marks if m.endswith((" 1-100", " 101-200"))}
    door.taken.clear()
    report = await run(door, path)
    assert (report.loaded, report.skipped) == (200, 200)
    assert sorted(door.taken) == sorted(f"p{n}" for n in range(200, 400))


async def test_a_server_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("asyncio.sleep", _no_wait)
    door = Door(down=3)
    assert (await run(door, lines(tmp_path / "Patient.ndjson", "a"))).loaded == 1
    assert door.posts == 4


async def _no_wait(seconds: float) -> None:
    pass
