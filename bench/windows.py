"""`python -m bench.windows`: a call of two Chromium windows over bad links, with the page's care for them and without; `--write` keeps it.

A doctor's and a patient's window on the consult page, a relay of ours, and `tests/telemed/impair.py` in the path. What the page does
about a thin way up (uplink.js), late sound (playout.js) and silence (pulse.js) is taken out in every second run, so that both are of one
sitting.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path as File
from typing import Any

from playwright.sync_api import sync_playwright
from tqdm import tqdm

from bench.__main__ import machine, write
from tests.telemed.calls import Ear, admit, count, fragment, played, received, rise, until, window
from tests.telemed.calls import Path as Way
from tests.telemed.impair import Path
from tests.telemed.page.conftest import MEDIA, Tab
from tests.web.chromium import FLAGS, PROGRAM

SETTLED = 20.0  # s after which sound is to be whole
PICTURE = 60.0  # s for which a first picture is waited for; "inf" in the table where none came
STEP = 5.0  # s between two looks
STATIC = File(__file__).parents[1] / "telemed" / "page" / "static"
WITHOUT = {
    "uplink.js": "Uplink.prototype.take = () => false;",
    "playout.js": "Playout.prototype.take = () => 0;",
    "pulse.js": "Pulse.prototype.take = () => false;",
}


@dataclass(frozen=True)
class Case:
    """A link for each window. early: it is so from the patient's first packet on, else once both see each other well."""

    name: str
    patient: tuple[Path, Path]  # up, down
    doctor: tuple[Path, Path] = (Path(), Path())
    early: bool = False


def thin(delay: float, queue: float, loss: float = 0.0) -> Path:
    return Path(rate=200_000, delay=delay, queue=queue, loss=loss)


CASES = (
    Case("patient 200 kbit/s each way, 60 ms, 1% loss, queue of 300 ms", (thin(60, 300, 0.01), thin(60, 300, 0.01))),
    Case("both 200 kbit/s each way, 100 ms, queue of 400 ms", (thin(100, 400), thin(100, 400)), (thin(100, 400), thin(100, 400))),
    Case("2% loss, 100 ms, each of four ways", (Path(loss=0.02, delay=100),) * 2, (Path(loss=0.02, delay=100),) * 2),
    Case("the first link, from the patient's first packet on", (thin(60, 300, 0.01), thin(60, 300, 0.01)), early=True),
)


@dataclass
class Heard:
    """What one window heard and saw of the other, and what its link dropped. Shares in percent."""

    made: float = 0.0  # of the sound, made up by its browser
    made_late: float = 0.0  # the same after SETTLED
    frozen: float = 0.0  # s
    height: int = 0  # at the end
    first: float = 0.0  # s from coming in to the first picture
    dropped_up: int = 0  # in the queues of its link
    dropped_down: int = 0


@dataclass
class Run:
    doctor: Heard
    patient: Heard


def plain(context: Any) -> None:
    """The page without its own care for the link."""
    for name, more in WITHOUT.items():
        text = (STATIC / name).read_text() + "\n" + more
        context.route(f"**/{name}", lambda route, *, text=text: route.fulfill(body=text, content_type="text/javascript"))


@contextmanager
def people(browser: Any, way: Way, own: bool) -> Iterator[tuple[Tab, Tab]]:
    """The doctor, in the call, and the patient at the device check."""
    before = None if own else plain
    doctor = window(browser, way.relay.base, "bacsi", "doctor", before=before)
    try:
        patient = window(browser, way.base, "benhnhan", "patient", before=before)
        try:
            doctor.enter("call")
            yield doctor, patient
        finally:
            patient.context.close()
    finally:
        doctor.context.close()


def watch(tabs: dict[str, Tab], seconds: float) -> dict[str, Heard]:
    begin = time.monotonic()
    looks: dict[str, list[tuple[float, tuple[float, float]]]] = {who: [] for who in tabs}
    while (now := time.monotonic() - begin) < seconds + STEP / 2:
        for who, tab in tabs.items():
            looks[who].append((now, played(tab)))
        time.sleep(STEP)

    def share(of: list[tuple[float, tuple[float, float]]]) -> float:
        if len(of) < 2:
            return float("nan")
        (_, first), (_, last) = of[0], of[-1]
        return 100 * (last[1] - first[1]) / max(1.0, last[0] - first[0])

    found = {}
    for who, tab in tabs.items():
        picture = received(tab, "video")
        late = [look for look in looks[who] if look[0] >= SETTLED]
        found[who] = Heard(
            share(looks[who]), share(late), picture.get("totalFreezesDuration", 0.0), picture.get("frameHeight", 0),
        )  # fmt: skip
    return found


def one(browser: Any, case: Case, own: bool, seconds: float) -> Run:
    with Way() as way, people(browser, way, own) as (doctor, patient):
        tabs = {"doctor": doctor, "patient": patient}
        if case.early:
            until(lambda: doctor.page.evaluate("() => Boolean(healthHubRoom.room.peer?.pc.localDescription)"))
            way.do(way.link.only, fragment(doctor), *case.doctor)
            way.do(setattr, way.link, "up", case.patient[0])
            way.do(setattr, way.link, "down", case.patient[1])
        admit(doctor, patient)
        came = time.monotonic()
        first: dict[str, float] = {}
        while len(first) < 2 and time.monotonic() - came < PICTURE:
            first |= {who: time.monotonic() - came for who, tab in tabs.items() if who not in first and count(tab, "video") > 0}
            time.sleep(0.02)
        if not case.early:
            well(doctor, patient)
            way.do(way.link.only, fragment(doctor), *case.doctor)
            way.do(way.link.only, fragment(patient), *case.patient)
        found = watch(tabs, seconds)
        for who, tab in tabs.items():
            found[who].first = first.get(who, math.inf)
            for flow in way.flows(tab):
                found[who].dropped_up += flow.up.counts.overflowed
                found[who].dropped_down += flow.down.counts.overflowed
        return Run(**found)


def well(doctor: Tab, patient: Tab) -> None:
    """Until both hear and see each other well."""
    rise((doctor, "video", "benhnhan"), (patient, "video", "bacsi"), (patient, "audio", "bacsi"))
    until(lambda: min(received(tab, "video").get("frameHeight", 0) for tab in (doctor, patient)) >= 360, 60)


def silent(browser: Any, own: bool) -> float:
    """s without sound at the doctor when the patient's way falls silent and new sockets find another, 100 ms long."""
    with Way() as way, people(browser, way, own) as (doctor, patient):
        admit(doctor, patient)
        well(doctor, patient)
        way.pipe.delay = 100
        way.do(lambda: way.link.both(delay=100))
        for flow in way.flows(patient):
            way.do(way.link.cut, 1e6, flow)
        ear, end = Ear(doctor), time.monotonic() + 30
        while time.monotonic() < end and not (ear.silent > 1 and ear.hears):
            ear.listen()
            time.sleep(0.05)
        return ear.silent


def table(found: dict[tuple[str, bool], list[Run]], gaps: dict[bool, list[float]], seconds: float, repeat: int) -> str:
    def median(case: Case, own: bool, what: Callable[[Run], float]) -> float:
        return statistics.median(what(run) for run in found[case.name, own])

    rows: tuple[tuple[str, Callable[[Run], float], str], ...] = (
        ("sound made up at the doctor, %", lambda r: r.doctor.made, ".1f"),
        (f"the same after {SETTLED:g} s, %", lambda r: r.doctor.made_late, ".1f"),
        ("sound made up at the patient, %", lambda r: r.patient.made, ".1f"),
        (f"the same after {SETTLED:g} s, %", lambda r: r.patient.made_late, ".1f"),
        ("dropped in the patient's queue, up", lambda r: r.patient.dropped_up, ".0f"),
        ("dropped in the patient's queue, down", lambda r: r.patient.dropped_down, ".0f"),
        ("first picture at the patient, s", lambda r: r.patient.first, ".1f"),
        ("picture at the doctor in the end, lines", lambda r: r.doctor.height, ".0f"),
        ("picture at the patient in the end, lines", lambda r: r.patient.height, ".0f"),
        ("frozen at the patient, s", lambda r: r.patient.frozen, ".1f"),
    )
    often = "once" if repeat == 1 else f"{repeat} times"
    lines = [
        f"{machine()}; two windows of Chromium, each case {often} with and without the page's care, in turn, {seconds:g} s each,"
        " medians.",
        f"Command: `python -m bench.windows --seconds {seconds:g} --repeat {repeat}`", "",
        "| link | | without | with |", "| --- | --- | --- | --- |",
    ]  # fmt: skip
    for case in CASES:
        if (case.name, True) not in found:
            continue
        for n, (name, what, shape) in enumerate(rows):
            values = [format(median(case, own, what), shape) for own in (False, True)]
            lines.append(f"| {case.name if not n else ''} | {name} | {values[0]} | {values[1]} |")
    if gaps:
        said = [f"{statistics.median(gaps[own]):.1f} ({min(gaps[own]):.1f}-{max(gaps[own]):.1f})" for own in (False, True)]
        lines.append(f"| old way silent, new sockets needed, 100 ms | gap in the sound at the doctor, s | {said[0]} | {said[1]} |")
    return "\n".join(lines)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=float, default=40)
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--only", type=int, nargs="*", help=f"cases by number, 0 to {len(CASES)}; the last is the silent way")
    p.add_argument("--write", action="store_true")
    args = p.parse_args()
    chosen = args.only if args.only is not None else list(range(len(CASES) + 1))
    found: dict[tuple[str, bool], list[Run]] = {}
    gaps: dict[bool, list[float]] = {}
    with sync_playwright() as playwright, tqdm(total=args.repeat * 2 * len(chosen), unit="run", file=sys.stderr) as bar:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=[*FLAGS, *MEDIA])
        for turn in range(args.repeat):
            for number in chosen:
                for own in (False, True) if turn % 2 else (True, False):
                    if number == len(CASES):
                        gaps.setdefault(own, []).append(silent(browser, own))
                        tqdm.write(json.dumps({"silent": own, "gap": gaps[own][-1]}))
                    else:
                        run = one(browser, CASES[number], own, args.seconds)
                        found.setdefault((CASES[number].name, own), []).append(run)
                        tqdm.write(json.dumps({"case": CASES[number].name, "own": own, **asdict(run)}))
                    bar.update()
        browser.close()
    text = table(found, gaps, args.seconds, args.repeat)
    print(text)
    if args.write:
        write("windows", text)


if __name__ == "__main__":
    main()
