"""A browser with a microphone and a camera that are not there, in front of a relay that is not one."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.telemed.page.fake import Relay  # noqa: E402
from tests.telemed.page.fake import relay as fake_relay  # noqa: E402
from tests.web.chromium import FLAGS, PRESENT, PROGRAM, WHY, WIDTH  # noqa: E402

_ALLOWED = ("--use-fake-ui-for-media-stream", "--auto-select-desktop-capture-source=Entire screen")
MEDIA = ("--use-fake-device-for-media-stream", *_ALLOWED)
# With 12 pictures a second instead of 20: windows encode in software, beside another worker's tests.
SLOW_MEDIA = ("--use-fake-device-for-media-stream=fps=12", *_ALLOWED)
STATE = "healthHubRoom.state()"


class Tab:
    """The page in a window of its own, which complains about whatever the browser did not like."""

    def __init__(self, context: Any, relay: Relay, lang: str) -> None:
        self.relay, self.lang, self.context = relay, lang, context
        context.add_cookies([{"name": "lang", "value": lang, "url": relay.origin}])
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.allowed = ""
        self.page.on("console", lambda said: self._complain(said.text) if said.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self._complain(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/", 3)[2]))

    def _complain(self, what: str) -> None:
        if not self.allowed or self.allowed not in what:
            self.complaints.append(what)

    def open(self, path: str = "/telemed/room#token=a-token") -> None:
        self.page.goto(self.relay.origin + path)
        self.until("s")

    def enter(self, screen: str = "call") -> None:
        """Through the device check."""
        self.until("s.devices.microphone || s.devices.problem")
        self.page.click("#enter")
        self.until(f"s.screen === '{screen}'")

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.page.evaluate(STATE)
        return found

    def until(self, condition: str, seconds: float = 15) -> None:
        """Until the state `s` of the page fulfils it. Playwright's own waiting evaluates strings in the page, which its policy forbids."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.page.evaluate(f"() => {{ const s = window.healthHubRoom?.state(); return Boolean(s && ({condition})) }}"):
                return
            time.sleep(0.05)
        raise AssertionError(f"never {condition}: {self.state()} {self.complaints}")

    def look(self, name: str = "") -> None:
        """That it fits, speaks the language, and has neither broken a rule nor loaded anything from elsewhere."""
        width, view, wide, lang, keys, heads, nameless = self.page.evaluate(_MEASURE)
        assert width <= view, f"{width} px wide: {wide}"
        assert lang == self.lang
        assert not keys, f"texts without words: {keys}"
        assert heads == 1
        assert not nameless, f"buttons without a name: {nameless}"
        assert not self.complaints, self.complaints
        assert self.hosts <= {self.relay.origin.split("//")[1]}


_MEASURE = r"""() => {
  const root = document.documentElement;
  const seen = (e) => e.getClientRects().length > 0;
  const wide = [...document.querySelectorAll("body *")].filter(
    (e) => seen(e) && e.getBoundingClientRect().right > root.clientWidth + 1 && !e.closest("svg"));
  const words = document.body.innerText.match(
    /\b(?:check|bar|chat|over|low|lost|vitals|record|people|quality|weak|tile|role|state|message)\.[a-z0-9-]+/g) ?? [];
  const nameless = [...document.querySelectorAll("button, input, select, textarea")].filter((e) => seen(e)
    && !(e.innerText || e.getAttribute("aria-label") || e.title || e.labels?.[0]?.innerText)).map((e) => e.outerHTML.slice(0, 100));
  return [Math.max(root.scrollWidth, document.body.scrollWidth), root.clientWidth,
    wide.map((e) => e.outerHTML.slice(0, 120)).join("\n"), root.lang, words,
    [...document.querySelectorAll("h1")].filter(seen).length, nameless];
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[Relay]:
    with fake_relay() as found:
        yield found


@pytest.fixture
def relay(server: Relay) -> Iterator[Relay]:
    server.fresh()
    yield server
    server.hang_up()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not PRESENT:
        pytest.skip(WHY)
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=PROGRAM, args=[*FLAGS, *SLOW_MEDIA])
        try:
            yield found
        finally:
            found.close()


@pytest.fixture
def tab(browser: Any, relay: Relay) -> Iterator[Callable[..., Tab]]:
    """A fresh window, of a phone unless told otherwise."""
    contexts = []

    def made(lang: str = "vi", width: int = WIDTH, height: int = 740) -> Tab:
        context = browser.new_context(viewport={"width": width, "height": height}, permissions=["microphone", "camera"])
        context.set_default_timeout(15_000)
        contexts.append(context)
        return Tab(context, relay, lang)

    yield made
    for context in contexts:
        context.close()
