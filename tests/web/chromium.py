"""A hub as a process of its own and a real browser in front of it, which complains about whatever it did not like."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Page, sync_playwright

from bench.processes import Hub, free_port
from health_hub.demo.accounts import password
from tests.auth.flow import challenge

PROGRAM = "/usr/bin/chromium"
PRESENT = shutil.which(PROGRAM) is not None
WHY = "chromium is not installed"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTH = 360  # pixels of a small phone
VERIFIER = "v" * 43


class DemoHub(Hub):
    """With the demo records, under the name `localhost`: browsers make no passkeys for an address of numbers."""

    def start(self) -> None:
        before = os.environ.get("HEALTH_HUB_BASE_URL")
        self.origin = f"http://localhost:{self.port}"
        os.environ["HEALTH_HUB_BASE_URL"] = f"{self.origin}/fhir"
        try:
            super().start()
        finally:
            if before is None:
                del os.environ["HEALTH_HUB_BASE_URL"]
            else:
                os.environ["HEALTH_HUB_BASE_URL"] = before


class Application:
    """A page that demo-app is sent back to."""

    def __init__(self, hub: DemoHub) -> None:
        self.hub, self.port = hub, free_port()
        self.redirect = f"http://127.0.0.1:{self.port}/callback"

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!doctype html><link rel=icon href=data:,><title>application</title>")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def request(self, scope: str) -> str:
        """Where it sends the browser (RFC 7636 4.3)."""
        return f"{self.hub.origin}/auth/authorize?" + urlencode({
            "response_type": "code", "client_id": "demo-app", "redirect_uri": self.redirect, "scope": scope, "state": "a-state",
            "nonce": "a-nonce", "aud": f"{self.hub.origin}/fhir", "code_challenge": challenge(VERIFIER), "code_challenge_method": "S256",
        })  # fmt: skip

    def redeem(self, address: str) -> dict[str, Any]:
        """The token for the answer that the browser was sent back with."""
        answer = {k: v[0] for k, v in parse_qs(urlsplit(address).query).items()}
        assert (answer.get("state"), answer.get("iss")) == ("a-state", self.hub.origin), address
        form = {"grant_type": "authorization_code", "client_id": "demo-app", "code": answer["code"], "redirect_uri": self.redirect,
                "code_verifier": VERIFIER}  # fmt: skip
        response = httpx.post(f"{self.hub.origin}/auth/token", data=form)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Device:
    """A machine without a browser (RFC 8628), registered with the hub and waiting for somebody to type its code."""

    name = "Máy đo huyết áp của trạm"

    def __init__(self, hub: DemoHub) -> None:
        self.hub = hub
        added = subprocess.run(
            [sys.executable, "-m", "health_hub.cli", "client", "add", "--db", hub.database, "--json", "--grant", "device", "--public",
             "--scope", "openid launch/patient patient/*.rs", self.name],
            check=True, capture_output=True,
        )  # fmt: skip
        self.id = json.loads(added.stdout)["client_id"]
        response = httpx.post(
            f"{hub.origin}/auth/device_authorization", data={"client_id": self.id, "scope": "openid launch/patient patient/*.rs"}
        )
        assert response.status_code == 200, response.text
        asked = response.json()
        self.user_code, self.code = str(asked["user_code"]), str(asked["device_code"])

    def poll(self) -> dict[str, Any]:
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "client_id": self.id, "device_code": self.code}
        found: dict[str, Any] = httpx.post(f"{self.hub.origin}/auth/token", data=form).json()
        return found


class Tab:
    """A page of a phone's browser with its own cookies. Every page it is led to must fit and be without complaint: see `look`.

    allowed: part of a complaint that is to be expected.
    """

    def __init__(self, context: BrowserContext, hub: DemoHub, lang: str) -> None:
        self.context, self.hub, self.lang = context, hub, lang
        context.add_cookies([{"name": "lang", "value": lang, "url": hub.origin}])
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.allowed = ""
        self.seen: set[str] = set()
        self.page.on("console", lambda said: self._complain(said.text) if said.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self._complain(str(error)))

    def _complain(self, what: str) -> None:
        if not self.allowed or self.allowed not in what:
            self.complaints.append(f"{what} at {self.page.url}")

    def look(self) -> None:
        """That the page fits the width, speaks the language and has broken no rule of its own (Content-Security-Policy)."""
        if not self.page.url.startswith(self.hub.origin):
            return
        path = urlsplit(self.page.url).path
        self.seen.add(path)
        width, wide, lang, heads = self.page.evaluate(_MEASURE)
        assert width <= WIDTH, f"{path} ({self.lang}) is {width} px wide: {wide}"
        assert lang == self.lang, path
        assert "</" not in self.page.inner_text("body"), f"{path} shows markup"
        assert heads == 1, f"{path} has {heads} headings of the first order"
        assert not self.complaints, self.complaints

    def open(self, path: str) -> None:
        self.page.goto(path if "://" in path else self.hub.origin + path)
        self.look()

    def press(self, selector: str) -> None:
        """A button or a link that leads to another page."""
        with self.page.expect_navigation():
            self.page.click(selector)
        self.look()

    def sign_in(self, login: str) -> None:
        """With the page to sign in open."""
        self.page.fill("#login", login)
        self.page.fill("#password", password(login))
        self.press("form[action='/sign-in'] button")

    def text(self) -> str:
        return self.page.inner_text("main")

    def at(self) -> str:
        return urlsplit(self.page.url).path

    def authenticator(self) -> tuple[Any, str]:
        """A phone that makes and uses passkeys when it is asked (Web Authentication 3, 11.2), and its id."""
        devtools = self.context.new_cdp_session(self.page)
        devtools.send("WebAuthn.enable")
        added = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }})  # fmt: skip
        return devtools, str(added["authenticatorId"])


_MEASURE = """() => {
  const root = document.documentElement;
  const wide = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > root.clientWidth + 1);
  return [root.scrollWidth, wide.map((e) => e.outerHTML.slice(0, 120)).join("\\n"), root.lang, document.querySelectorAll("h1").length];
}"""


def json_of(hub: DemoHub, path: str, token: str) -> tuple[int, Any]:
    response = httpx.get(f"{hub.origin}/fhir/{path}", headers={"Authorization": f"Bearer {token}"})
    return response.status_code, json.loads(response.content)


@contextmanager
def demo_hub(folder: Path) -> Iterator[DemoHub]:
    hub = DemoHub(f"sqlite:///{folder}/hub.db", None, "--demo", auth=True)
    try:
        yield hub
    finally:
        hub.stop()
        hub.log.close()


@contextmanager
def chromium() -> Iterator[Chromium]:
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=PROGRAM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
