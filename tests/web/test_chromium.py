"""What a person does, in a real browser 360 px wide and in both languages, with a hub as its own process and the demo records."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pyotp
import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.web.chromium import PRESENT, WHY, WIDTH, Application, DemoHub, Device, Tab, chromium, demo_hub, json_of  # noqa: E402

pytestmark = [pytest.mark.skipif(not PRESENT, reason=WHY), pytest.mark.xdist_group("chromium")]
DOCTOR, PATIENT, AUDITOR = "bacsi.demo", "benhnhan.demo", "kiemtra.demo"
OWN = "bn-015"  # the demo patient's own record
Open = Callable[[str], Tab]


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
def tab(browser: "playwright.Browser", hub: DemoHub) -> Iterator[Open]:
    """A fresh browser that speaks a language."""
    with ExitStack() as stack:

        def made(lang: str = "vi") -> Tab:
            context = stack.enter_context(browser.new_context(viewport={"width": WIDTH, "height": 740}))
            context.set_default_timeout(15_000)
            return Tab(context, hub, lang)

        yield made


@pytest.mark.parametrize("lang", ["vi", "en"])
def test_a_doctor_lets_an_application_open_one_patient(tab: Open, application: Application, hub: DemoHub, lang: str) -> None:
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


@pytest.mark.parametrize("lang", ["vi", "en"])
def test_a_patient_finds_the_doctor_who_read_the_record(tab: Open, application: Application, hub: DemoHub, lang: str) -> None:
    doctor = tab(lang)
    doctor.open(application.request("openid launch/patient patient/*.rs"))
    doctor.sign_in(DOCTOR)
    doctor.press("button[value='Organization/ttyt-dai-tu']")
    doctor.page.fill("#q", "Nguyễn Quang Hùng")
    doctor.press("form[role=search] button")
    doctor.press(f"button[value='{OWN}']")
    doctor.press("button[value=allow]")
    token = application.redeem(doctor.page.url)
    assert token["patient"] == OWN
    assert json_of(hub, f"Observation?patient={OWN}", token["access_token"])[0] == 200
    patient = tab(lang)
    patient.open("/record/access")
    patient.sign_in(PATIENT)
    assert patient.at() == "/record/access"
    rows = patient.page.locator("main li").all_inner_texts()
    assert not [r for r in rows if "Chính bạn" in r or "You yourself" in r], "signing in is no reading of the record"
    row = patient.page.inner_text("main li:has-text('Dương Công Bảo') >> nth=0")
    assert "Đại Từ" in row
    assert ("kết quả đo và xét nghiệm" if lang == "vi" else "measurements and test results") in row
    assert ("Khám chữa bệnh" if lang == "vi" else "Treatment") in row


@pytest.mark.parametrize(("lang", "login", "role"), [("vi", AUDITOR, "Kiểm toán viên"), ("en", "quantri.demo", "Account administrator")])
def test_who_needs_a_second_factor_turns_it_on_and_signs_in_with_it(tab: Open, lang: str, login: str, role: str) -> None:
    at = tab(lang)
    at.open("/sign-in")
    at.sign_in(login)
    assert at.at() == "/sign-in/enrol"
    assert at.page.is_visible("div.qr :is(svg, img)")
    at.page.click("summary")
    at.look()
    phone = pyotp.TOTP(at.page.inner_text("details code").replace(" ", ""))
    at.page.fill("#code", phone.now())
    at.press("form[action='/sign-in/enrol'] button")
    assert at.page.locator("ol.codes li").count() >= 8
    kept = at.page.inner_text("ol.codes li >> nth=0")
    at.press("main a.button")
    assert role in at.text()
    if login == "quantri.demo":
        for path in ("/admin/accounts", "/admin/accounts?login=bacsi.demo", "/admin/clients"):
            at.open(path)
            assert at.page.locator("main form").count()
    # A code works once (RFC 6238 5.2); the next one is taken from a phone whose clock is ahead.
    for name, code in (("code", phone.at(time.time() + 30)), ("recovery", kept)):
        at.open("/sign-out")
        at.press("form[action='/sign-out'] button")
        at.open("/sign-in")
        at.sign_in(login)
        assert at.at() == "/sign-in/code"
        if name == "recovery":
            at.page.click("summary")
            at.look()
        at.page.fill(f"#{name}", code)
        at.press(f"form:has(#{name}) button")
        assert role in at.text()


@pytest.mark.parametrize(("lang", "login"), [("vi", "me.demo"), ("en", "dieuduong.demo")])
def test_a_passkey_is_made_and_signs_in_without_a_password(tab: Open, lang: str, login: str) -> None:
    at = tab(lang)
    devtools, authenticator = at.authenticator()
    # Else the virtual phone answers the login field's own offer before anybody presses the button: see the next test.
    at.page.add_init_script("delete PublicKeyCredential.isConditionalMediationAvailable")
    at.open("/sign-in?next=%2Faccount")
    at.sign_in(login)
    at.press("a[href='/account/passkeys']")
    at.page.fill("#name", "Điện thoại của tôi")
    at.press("form[data-passkey=create] button")
    assert at.page.locator("main li strong").all_inner_texts() == ["Điện thoại của tôi"]
    at.open("/sign-out")
    at.press("form[action='/sign-out'] button")
    at.open("/sign-in?next=%2Faccount")
    at.press("form[data-passkey=get] button")
    assert at.at() == "/account"
    assert login in at.text()
    kept = devtools.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]
    assert [(c["rpId"], c["isResidentCredential"]) for c in kept] == [("localhost", True)]
    # Removed here, it signs in no more, though the phone still has it.
    at.open("/account/passkeys")
    at.press("form[action='/account/passkeys/remove'] button")
    at.open("/sign-out")
    at.press("form[action='/sign-out'] button")
    at.open("/sign-in")
    at.allowed = "status of 422"
    at.press("form[data-passkey=get] button")
    assert at.page.is_visible("div.note.bad")
    at.open("/account")
    assert at.at() == "/sign-in"


def test_the_login_field_offers_the_passkey_without_a_button(tab: Open) -> None:
    at = tab("vi")
    at.authenticator()
    at.open("/sign-in?next=%2Faccount%2Fpasskeys")
    at.sign_in("bacsi.xa.demo")
    at.press("form[data-passkey=create] button")
    at.open("/sign-out")
    at.press("form[action='/sign-out'] button")
    at.page.goto(f"{at.hub.origin}/sign-in?next=%2Faccount%2Fpasskeys")
    at.page.wait_for_url("**/account/passkeys")
    at.look()


@pytest.mark.parametrize("lang", ["vi", "en"])
def test_a_device_is_connected_with_the_code_it_shows(tab: Open, hub: DemoHub, lang: str) -> None:
    device = Device(hub)
    at = tab(lang)
    at.open("/device")
    at.sign_in(PATIENT)
    at.page.fill("#user_code", device.user_code.lower())
    at.press("form[action='/device'] button")
    assert device.name in at.text()
    at.press("button[value=allow]")
    token = device.poll()
    assert token["patient"] == OWN
    assert json_of(hub, f"Patient/{OWN}", token["access_token"])[0] == 200
    at.open("/account")
    assert device.name in at.text()
    at.press(f"form:has(input[value='{device.id}']) button")
    assert device.name not in at.text()
    assert json_of(hub, f"Patient/{OWN}", token["access_token"])[0] == 401


@pytest.mark.parametrize("lang", ["vi", "en"])
def test_every_other_page_fits_a_phone(tab: Open, application: Application, hub: DemoHub, lang: str) -> None:
    at = tab(lang)
    for path in ("/", "/sign-in", "/sign-in?next=/device"):
        at.open(path)
    at.sign_in(PATIENT)
    for path in ("/", "/record/access", "/device", "/auth/facility", "/account", "/account/password", "/account/totp", "/account/passkeys",
                 "/sign-in/again", "/auth/logout?client_id=demo-app", "/sign-out"):  # fmt: skip
        at.open(path)
        assert at.at() == path.partition("?")[0]
    at.press("form[action='/sign-out'] button")
    carer = tab(lang)
    carer.open(application.request("openid launch/patient patient/*.rs"))
    carer.sign_in("me.demo")
    assert carer.at() == "/auth/patient"
    carer.open("/record/access")
    # These are errors, so Chromium says so; the pages still fit.
    for path in ("/no-such-page", "/auth/continue?id=none", "/auth/authorize?client_id=none", "/sign-in/enrol?id=none"):
        stranger = tab(lang)
        stranger.allowed = "status of 4"
        stranger.open(path)
        assert stranger.complaints == []


def test_the_language_is_changed_on_the_page_one_is_on(tab: Open) -> None:
    at = tab("vi")
    at.open("/sign-in?next=%2Fdevice")
    at.lang = "en"
    at.press("button[value=en]")
    assert at.at() == "/sign-in"
    assert "Password" in at.text()
    at.sign_in(PATIENT)
    assert at.at() == "/device"
