"""Windows of Chromium on bad links to the real relay: too little rate for the picture, a cut, another address, an ICE restart."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.telemed.calls import Path as Way
from tests.telemed.calls import admit, closing, count, fragment, received, rise, until, window
from tests.telemed.impair import Path
from tests.telemed.page.conftest import Tab, browser  # noqa: F401 - the fixture

pytestmark = pytest.mark.xdist_group("telemed-page")

THIN = Path(rate=150_000, delay=20, queue=400)
WIDE = Path(rate=2_000_000, delay=20, queue=400)


@pytest.fixture
def way() -> Iterator[Way]:
    with Way() as made:
        yield made


def call(browser: Any, way: Way) -> tuple[Tab, Tab]:  # noqa: F811
    doctor, patient = window(browser, way.relay.base, "bacsi", "doctor"), window(browser, way.base, "benhnhan", "patient")
    doctor.enter("call")
    admit(doctor, patient)
    rise((doctor, "video", "benhnhan"), (patient, "video", "bacsi"), (patient, "audio", "bacsi"))
    return doctor, patient


def test_on_a_thin_link_sound_goes_on_and_the_picture_falls_and_comes_back(browser: Any, way: Way) -> None:  # noqa: F811
    doctor, patient = call(browser, way)
    with closing(doctor, patient):
        until(lambda: received(patient, "video")["frameHeight"] >= 360, 40)
        heard = [count(patient, "audio")]

        def listening() -> bool:
            heard.append(count(patient, "audio"))
            return True

        way.do(way.link.only, fragment(patient), WIDE, THIN)
        until(lambda: listening() and patient.state()["weak"] and _low(patient), 30)
        t = patient.page.inner_text("#weak")
        print(t, patient.state()["layers"], patient.state()["tiles"])
        for _ in range(20):
            time.sleep(0.5); listening()
            s = patient.state()
            print(heard[-1]-heard[-2], s['weak'], s['layers'], [(x['reason'],x['still'],x['height']) for x in s['tiles']], s['level'], patient.page.inner_text("#weak"))
        way.do(way.link.only, fragment(patient), WIDE, WIDE)
        for _ in range(30):
            time.sleep(0.5); listening()
            s = patient.state()
            print(heard[-1]-heard[-2], s['weak'], s['layers'], [(x['reason'],x['still'],x['height']) for x in s['tiles']], s['level'], patient.page.inner_text("#weak"))
def _low(tab: Tab) -> bool:
    return any(c["paused"] or c["layer"] == "q" for c in tab.state()["layers"])
