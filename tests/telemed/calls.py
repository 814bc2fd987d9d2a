"""People in windows of Chromium who hold a call through a real relay: coming in, what they receive, and bad links between."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.relay.relays import Ours
from tests.telemed.impair import Flow, Impairment
from tests.telemed.page.conftest import Tab
from tests.telemed.pipe import Pipe


class Standing:
    """The address that `Tab` wants."""

    def __init__(self, base: str) -> None:
        self.origin = base.removesuffix("/telemed")


def window(
    browser: Any, base: str, who: str, role: str, *, script: str = "", width: int = 1000, height: int = 700,
    before: Callable[[Any], None] | None = None,
) -> Tab:  # fmt: skip
    """A window with the page open at the device check, `base` as `Ours.base`. `script` runs before the page's own.

    before: gets the window's context before anything is loaded.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, permissions=["microphone", "camera"])
    context.set_default_timeout(15_000)
    if before is not None:
        before(context)
    if script:
        context.add_init_script(script)
    tab = Tab(context, Standing(base), "vi")  # type: ignore[arg-type]
    tab.open(f"/telemed/room#room=demo&participant={who}&name={who}&role={role}")
    return tab


def admit(doctor: Tab, patient: Tab) -> None:
    """The patient, at the device check, knocks and is let in."""
    patient.enter("waiting")
    doctor.until("s.waiting.length === 1")
    doctor.page.click("#ask-in .small-button")
    patient.until("s.screen === 'call'")


def received(tab: Tab, kind: str, sender: str | None = None) -> dict[str, Any]:
    """The inbound stream of a kind that has brought most, of anybody or of one participant."""
    found = [r for r in tab.page.evaluate("() => healthHubRoom.stats()") if r["type"] == "inbound-rtp" and r["kind"] == kind]
    if sender is not None:
        theirs = {t["id"] for t in tab.state()["tracks"] if t["participant"] == sender}
        found = [r for r in found if r.get("track") in theirs]
    return max(found, key=lambda r: r["packetsReceived"], default={})


def until(what: Callable[[], Any], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "never"
        time.sleep(0.2)


COUNTERS = {"video": "framesDecoded", "audio": "packetsReceived"}


def count(tab: Tab, kind: str, sender: str | None = None) -> int:
    """Frames decoded, or packets of sound received."""
    return int(received(tab, kind, sender).get(COUNTERS[kind], 0))


def rise(*ways: tuple[Tab, str, str | None], by: int = 20, seconds: float = 30) -> None:
    """That on each way (tab, kind, sender) `by` more frames are decoded, or packets of sound come, than by now."""
    before = [count(*way) for way in ways]
    for way, then in zip(ways, before, strict=True):
        until(lambda way=way, then=then: count(*way) >= then + by, seconds)


def played(tab: Tab) -> tuple[float, float]:
    """Samples of sound that a window played, and those of them that its browser made up."""
    r = received(tab, "audio")
    return float(r.get("totalSamplesReceived", 0)), float(r.get("concealedSamples", 0) - r.get("silentConcealedSamples", 0))


class Ear:
    """Counts the sound that comes; `silent` is the longest time in s in which nothing did, `hears` whether it has come again."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self._count, self._at, self.silent, self.hears = count(tab, "audio"), time.monotonic(), 0.0, False

    def listen(self) -> bool:
        heard, now = count(self._tab, "audio"), time.monotonic()
        self.hears = heard > self._count
        if self.hears:
            self._count, self._at = heard, now
        self.silent = max(self.silent, now - self._at)
        return True


def fragment(tab: Tab) -> str:
    """The window's present ICE user fragment."""
    sdp: str = tab.page.evaluate("() => healthHubRoom.room.peer.pc.localDescription.sdp")
    return sdp.partition("a=ice-ufrag:")[2].split()[0]


class Path:
    """A relay that announces an impairment proxy, which runs on a thread of its own beside the windows, as does a pipe to signalling."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> "Path":
        self._thread.start()
        self.link = self.do(Impairment().__aenter__)
        try:
            self.relay = Ours(announce=self.link.address)
            self.link.target = ("127.0.0.1", self.relay.udp)
            self.pipe = self.do(Pipe(("127.0.0.1", self.relay.port)).__aenter__)
            self.relay.__enter__()
        except BaseException:
            self._end()
            raise
        self.base = f"http://127.0.0.1:{self.pipe.address[1]}/telemed"  # through the pipe
        return self

    def __exit__(self, *_: object) -> None:
        self.relay.stop()
        self.do(self.pipe.__aexit__)
        self.do(self.link.__aexit__)
        self._end()

    def _end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def do(self, what: Callable[..., Any], *args: Any) -> Any:
        """Call something, or await it, where the proxy runs."""

        async def there() -> Any:
            result = what(*args)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(there(), self.loop).result(15)

    def flows(self, tab: Tab) -> list[Flow]:
        """The window's ways through the proxy."""
        name = fragment(tab)
        return [flow for flow in self.link.flows if flow.fragment == name]


@contextmanager
def closing(*tabs: Tab) -> Iterator[None]:
    """Whatever the windows complained of is a failure, told after that of the test itself."""
    try:
        yield
        for tab in tabs:
            assert not tab.complaints, tab.complaints
    finally:
        for tab in tabs:
            tab.context.close()
