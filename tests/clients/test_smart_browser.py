"""Both fhirclient libraries of SMART with a real browser: npm's standalone and EHR launch and a restricted scope, PyPI's launch."""

import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from fhirclient.client import FHIRClient
from fhirclient.models.condition import Condition
from fhirclient.models.observation import Observation
from fhirclient.server import FHIRPermissionDeniedException
from playwright.sync_api import Page, sync_playwright

from health_hub.demo.accounts import password
from tests.clients import install
from tests.clients.conftest import Signed

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
DOCTOR, HOSPITAL = "bacsi.demo", "Bệnh viện Đa khoa tỉnh"
# What an app does: launch.html asks, index.html reads.
LAUNCH = """<!doctype html><meta charset="utf-8"><script src="fhir-client.js"></script><script>
const p = new URLSearchParams(location.search);
FHIR.oauth2.authorize({clientId: p.get('client'), scope: p.get('scope'), redirectUri: 'index.html', iss: p.get('iss'), pkceMode: 'required',
                       launch: p.get('launch') || undefined});
</script>"""
INDEX = """<!doctype html><meta charset="utf-8"><script src="fhir-client.js"></script><pre id="out"></pre><script>
const out = (x) => { document.getElementById('out').textContent = JSON.stringify(x); };
FHIR.oauth2.ready().then(async (client) => {
  const list = async (query) => client.request(query).then((b) => (b.entry || []).map((e) => e.resource), (e) => String(e.message));
  const mine = `Observation?patient=${client.patient.id}&_count=200`;
  out({patient: client.patient.id, name: (await client.patient.read().catch((e) => ({name: [{text: String(e.message)}]}))).name[0].text,
       scope: client.state.tokenResponse.scope, token: client.state.tokenResponse, user: client.user.fhirUser || null,
       observations: await list(mine), every: await list('Patient?_count=200'), conditions: await list('Condition')});
}).catch((e) => out({error: e.message}));
</script>"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app's own address."""
    try:
        library = install.node() / "node_modules" / "fhirclient" / "build" / "fhir-client.js"
    except install.Missing as e:
        pytest.skip(str(e))
    if not CHROMIUM.exists():
        pytest.skip("chromium is not installed")
    folder = tmp_path_factory.mktemp("app")
    (folder / "fhir-client.js").write_bytes(library.read_bytes())
    (folder / "launch.html").write_text(LAUNCH)
    (folder / "index.html").write_text(INDEX)

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, directory=str(folder), **named)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser.new_context(locale="vi-VN").new_page()
        browser.close()


def app(signed: Signed, origin: str) -> str:
    said = signed.command("client", "add", "Ứng dụng SMART", "--grant", "authorization_code", "--auth-method", "none", "--public",
                          "--redirect-uri", f"{origin}/index.html", "--redirect-uri", f"{origin}/back",
                          "--launch-uri", f"{origin}/launch.html", "--json",
                          "--scope", "openid fhirUser launch launch/patient patient/*.rs user/*.rs")  # fmt: skip
    return str(json.loads(said)["client_id"])


def sign_in(page: Page) -> None:
    page.get_by_label("Tên đăng nhập").fill(DOCTOR)
    page.get_by_label("Mật khẩu").fill(password(DOCTOR))
    page.locator("main button").first.click()
    page.locator("main button", has_text=HOSPITAL).click()


def launched(page: Page, origin: str, **asked: str) -> None:
    page.goto(f"{origin}/launch.html?{urlencode(asked)}")


def read(page: Page) -> dict[str, Any]:
    page.wait_for_url("**/index.html*")
    page.wait_for_function("document.getElementById('out')?.textContent.length > 2")
    found: dict[str, Any] = json.loads(page.locator("#out").inner_text())
    assert "error" not in found, found
    return found


def test_standalone_launch_with_the_patient_picker(signed: Signed, origin: str, page: Page) -> None:
    launched(page, origin, client=app(signed, origin), iss=signed.base, scope="openid fhirUser launch/patient patient/*.rs")
    sign_in(page)
    page.locator("main input[type=search]").fill("Nguyễn")
    page.locator("main form[role=search] button").click()
    chosen = page.locator("button[name=patient]").first
    id = chosen.get_attribute("value")
    chosen.click()
    page.locator("button[value=allow]").click()
    found = read(page)
    assert found["patient"] == id
    assert found["user"].endswith("Practitioner/bs-01")
    assert [p["id"] for p in found["every"]] == [id], "the patient in context and nobody else"
    assert all(o["subject"]["reference"] == f"Patient/{id}" for o in found["observations"])


def test_ehr_launch(signed: Signed, origin: str, page: Page) -> None:
    client = app(signed, origin)
    launch = json.loads(signed.command("launch", "--client", client, "--user", DOCTOR, "--patient", "bn-006", "--json"))["launch"]
    launched(page, origin, client=client, iss=signed.base, launch=launch, scope="openid fhirUser launch patient/*.rs")
    sign_in(page)
    page.locator("button[value=allow]").click()
    found = read(page)
    assert found["patient"] == "bn-006"
    assert found["token"]["need_patient_banner"] is not None
    assert [p["id"] for p in found["every"]] == ["bn-006"]
    page.context.clear_cookies()
    launched(page, origin, client=client, iss=signed.base, launch=launch, scope="openid fhirUser launch patient/*.rs")
    page.wait_for_load_state()
    assert "index.html" not in page.url or "error" in page.url, "a launch is good once"


def test_a_restricted_scope_gets_exactly_what_it_allows(signed: Signed, origin: str, page: Page) -> None:
    client = app(signed, origin)
    scope = "launch patient/Patient.r patient/Observation.rs?category=vital-signs"
    launch = json.loads(signed.command("launch", "--client", client, "--user", DOCTOR, "--patient", "bn-006", "--json"))["launch"]
    launched(page, origin, client=client, iss=signed.base, launch=launch, scope=scope)
    sign_in(page)
    page.locator("button[value=allow]").click()
    found = read(page)
    assert set(found["scope"].split()) == set(scope.split())
    categories = [o["category"][0]["coding"][0]["code"] for o in found["observations"]]
    assert categories
    assert set(categories) == {"vital-signs"}
    assert isinstance(found["conditions"], str), "no scope, no Conditions"


def test_pypi_fhirclient_gets_what_its_scopes_allow(signed: Signed, origin: str, page: Page) -> None:
    client = app(signed, origin)
    launch = json.loads(signed.command("launch", "--client", client, "--user", DOCTOR, "--patient", "bn-006", "--json"))["launch"]
    smart = FHIRClient({"app_id": client, "api_base": signed.base, "redirect_uri": f"{origin}/back", "launch_token": launch,
                        "scope": "launch patient/Patient.r patient/Observation.rs"})  # fmt: skip
    assert not smart.prepare(), "not signed in yet"
    page.goto(smart.authorize_url)
    sign_in(page)
    page.locator("button[value=allow]").click()
    page.wait_for_url("**/back?*")
    smart.handle_callback(page.url)
    assert smart.ready
    assert smart.patient.id == "bn-006"
    found = list(Observation.where({"patient": "bn-006"}).perform_resources_iter(smart.server))
    assert found
    assert {o.subject.reference for o in found} == {"Patient/bn-006"}
    with pytest.raises(FHIRPermissionDeniedException):
        list(Condition.where({}).perform_resources_iter(smart.server))
    smart.server.session.close()
