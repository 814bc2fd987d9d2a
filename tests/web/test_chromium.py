"""What a person does, in a real browser 360 px wide and in both languages, with a hub as its own process and the demo records."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.web.chromium import PRESENT, WHY, WIDTH, Application, DemoHub, Tab, chromium, demo_hub, json_of  # noqa: E402

pytestmark = [pytest.mark.skipif(not PRESENT, reason=WHY), pytest.mark.xdist_group("chromium")]
DOCTOR, PATIENT, AUDITOR = "bacsi.demo", "benhnhan.demo", "kiemtra.demo"
OWN = "bn-015"  # the demo patient's own record


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoHub]:
    with demo_hub(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def application(hub: DemoHub) -> Iterator[Application]:
    found = Application(hub)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with chromium() as found:
        yield found


@pytest.fixture
def tab(browser: "playwright.Browser", hub: DemoHub) -> Iterator[Callable[[str], Tab]]:
    """A fresh browser that speaks a language."""
    with ExitStack() as stack:

        def made(lang: str = "vi") -> Tab:
            context = stack.enter_context(browser.new_context(viewport={"width": WIDTH, "height": 740}))
            context.set_default_timeout(15_000)
            return Tab(context, hub, lang)

        yield made


@pytest.mark.parametrize("lang", ["vi", "en"])
def test_a_doctor_lets_an_application_open_one_patient(tab: Callable[[str], Tab], application: Application, hub: DemoHub, lang: str) -> None:
    at = tab(lang)
    at.open(application.request("openid fhirUser launch/patient offline_access patient/*.rs"))
    assert at.at() == "/sign-in"
    at.sign_in(DOCTOR)
    assert at.at() == "/auth/facility"
    at.press("button[value='Organization/bvdk-tinh']")
    assert at.at() == "/auth/patient"
    at.page.fill("#q", "Nguyễn")
    at.press("form[role=search] button")
    chosen = at.page.get_attribute("button[name=patient] >> nth=0", "value")
    at.press("button[name=patient] >> nth=0")
    assert at.at() == "/auth/consent"
    at.page.uncheck("input[value=offline_access]")
    at.press("button[value=allow]")
    token = application.redeem(at.page.url)
    assert token["patient"] == chosen
    assert set(token["scope"].split()) == {"openid", "fhirUser", "launch/patient", "patient/*.rs"}
    assert "refresh_token" not in token
    status, found = json_of(hub, "Patient?_count=100", token["access_token"])
    assert status == 200
    assert [e["resource"]["id"] for e in found["entry"]] == [chosen]
    assert json_of(hub, f"Patient/{chosen}", token["access_token"])[0] == 200
    assert json_of(hub, "Patient/bn-040" if chosen != "bn-040" else "Patient/bn-041", token["access_token"])[0] in (403, 404)
    assert {"/sign-in", "/auth/facility", "/auth/patient", "/auth/consent"} <= at.seen
