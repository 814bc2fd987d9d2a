"""What the page decides about its own sending and about holding sound back, with figures given: modules of the page in its own browser."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.telemed.page.conftest import Tab
from tests.telemed.page.fake import Relay

pytestmark = pytest.mark.xdist_group("telemed-page")
Open = Callable[..., Tab]
RUN = """async ([name, make, given]) => {
  const base = document.querySelector("script[type=module]").src;
  const module = await import(new URL(name, base));
  const made = new module[make]();
  return given.map((each) => { made.take(each); return made.lean ? "lean" : made.video === Infinity ? "all" : made.video ?? made.held; });
}"""
# A link of 200 kbit/s: beside sound it holds so much picture, and what is more waits in its queue, of 300 ms at most.
LINK = """async ([holds, minutes, twice]) => {
  const base = document.querySelector("script[type=module]").src;
  const { Uplink } = await import(new URL("uplink.js", base));
  const made = new Uplink(), out = { full: 0, samples: 0, least: Infinity, tries: 0, ended: 0 };
  made.learn(0, 100);
  let queue = 0, before = Infinity;
  for (let now = 2000; now < minutes * 60000; now += 2000) {
    const held = now < minutes * 30000 || !twice ? holds : twice;
    const sent = Math.min(made.video, 130000);
    queue = Math.max(0, Math.min(300, queue + (sent - held) / 50));
    made.take({ now, round: 100 + queue, lost: queue >= 300 ? 0.08 : 0, sent });
    if (made.video > before) out.tries += 1;
    before = made.video;
    if (now > 30000) { out.samples += 1; out.full += queue > 160; out.least = Math.min(out.least, made.video); }
  }
  return { ...out, ended: made.video === Infinity ? "all" : made.video };
}"""


@pytest.fixture
def page(tab: Open, relay: Relay) -> Any:
    at = tab()
    at.open()
    return at.page


def uplink(page: Any, *samples: tuple[float, float, float, float]) -> list[Any]:
    """samples: (round trip ms, share of the sound lost, picture sent in bit/s, seconds since the one before)."""
    now, given = 0.0, []
    for round, lost, sent, seconds in samples:
        now += seconds * 1000
        given.append({"now": now, "round": round, "lost": lost, "sent": sent})
    found: list[Any] = page.evaluate(RUN, ["./uplink.js", "Uplink", given])
    return found


EMPTY, FULL = (100, 0, 120_000, 2), (400, 0.08, 120_000, 2)


def test_a_queue_that_stands_takes_from_the_picture_step_by_step_and_gives_back(page: Any) -> None:
    found = uplink(page, EMPTY, *[FULL] * 14, *[EMPTY] * 40)
    down = list(dict.fromkeys(found[:15]))
    assert down[:2] == ["all", 90_000], "a quarter less than was sent"
    assert down[1:] == sorted(down[1:], reverse=True)
    assert found[14] == 0, "in the end no picture"
    assert found[1:3] == [90_000, 90_000], "a step is given time to show"
    back = list(dict.fromkeys(found[15:]))
    assert back[0] == 0
    assert 40_000 < back[1] < 60_000
    assert back[-1] == "all"


def test_loss_alone_and_delay_of_others_take_nothing(page: Any) -> None:
    assert set(uplink(page, EMPTY, *[(110, 0.1, 120_000, 2)] * 30)) == {"all"}, "the link loses, nothing waits"
    assert set(uplink(page, EMPTY, *[(400, 0.01, 10_000, 2)] * 30)) == {"all"}, "the queue is another's"
    assert set(uplink(page, EMPTY, *[(400, 0.1, 900_000, 2)] * 30)) == {"all"}, "the browser has layers to leave out"
    assert set(uplink(page, EMPTY, *[(400, 0, 120_000, 2), EMPTY] * 30)) == {"all"}, "a moment"
    assert set(uplink(page, (600, 0, 120_000, 2), *[(620, 0.02, 120_000, 2)] * 30)) == {"all"}, "a satellite"
    assert set(uplink(page, EMPTY, *[(400, 0.08, 120_000, 0.1)] * 8)) == {"all"}, "of one moment"


def test_sound_alone_takes_half_where_even_that_is_too_much(page: Any) -> None:
    found = uplink(page, EMPTY, *[(700, 0.1, 0, 2)] * 5, *[(110, 0, 0, 2)] * 8)
    assert found[0] == "all"
    assert found[2:6] == ["lean"] * 4
    assert found[-1] == "all"


def test_a_link_that_holds_half_is_seldom_full_and_never_without_a_picture(page: Any) -> None:
    found = page.evaluate(LINK, [80_000, 20, 0])
    assert found["full"] / found["samples"] < 0.1, found
    assert found["least"] >= 40_000, found
    assert found["tries"] < 60, found


def test_a_way_that_became_longer_is_not_taken_for_a_full_one(page: Any) -> None:
    found = page.evaluate("""async () => {
      const { Uplink } = await import(new URL("./uplink.js", document.querySelector("script[type=module]").src));
      const made = new Uplink(), out = [];
      made.learn(0, 20);
      for (let now = 2000; now < 120000; now += 2000) {
        made.take({ now, round: now < 20000 ? 25 : 230, lost: 0.01, sent: Math.min(made.video, 120000) });
        out.push(made.video);
      }
      return out.map((v) => (v === Infinity ? "all" : v));
    }""")
    assert found[-1] == "all"
    assert found.count("all") >= len(found) - 8, found
    assert min(v for v in found if v != "all") > 40_000, "a picture all the while"


def test_a_link_that_becomes_a_good_one_is_used(page: Any) -> None:
    assert page.evaluate(LINK, [60_000, 6, 1_000_000])["ended"] == "all"


def test_sound_is_held_back_only_where_it_comes_too_late(page: Any) -> None:
    def playout(made: int, late: int, times: int, then: int = 0) -> list[float]:
        given, total, sums = [], times + then, [0, 0, 0]
        for n in range(total):
            if n < times:
                sums = [sums[0] + made, sums[1] + late, sums[2] + 5]
            given.append({"timestamp": 2000.0 * n, "totalSamplesReceived": 96_000 * (n + 1), "concealedSamples": sums[0],
                          "silentConcealedSamples": 0, "packetsDiscarded": sums[1], "concealmentEvents": sums[2],
                          "jitterBufferDelay": 0.05 * 96_000 * (n + 1), "jitterBufferEmittedCount": 96_000 * (n + 1)})  # fmt: skip
        found: list[float] = page.evaluate(RUN, ["./playout.js", "Playout", given])
        return found

    late = playout(9_600, 5, 12)
    assert late[1] == pytest.approx(110), "what it was already, and a step"
    assert late[-1] == 400
    assert late == sorted(late)
    assert set(playout(9_600, 0, 12)) == {0}, "lost for good: waiting would bring nothing"
    assert set(playout(900, 5, 12)) == {0}, "hardly anything"
    assert playout(9_600, 5, 3, 60)[-1] == 0


@pytest.mark.parametrize("longer", [140, 400])
def test_a_way_that_became_longer_while_no_picture_goes_up_gets_it_back(page: Any, longer: int) -> None:
    """The least round trip is that of the link before: what stands above it with sound alone is no queue of ours."""
    found = uplink(page, *[(5, 0, 120_000, 2)] * 3, *[(430, 0.1, 50_000, 2)] * 4, *[(longer, 0, 0, 2)] * 12, *[(longer, 0, 60_000, 2)] * 30)
    assert found[6] == found[9] == 0
    assert found[18] > 0
    assert found[-1] == "all"


READ = """async (looks) => {
  const base = document.querySelector("script[type=module]").src;
  const { Outgoing } = await import(new URL("./uplink.js", base));
  const made = new Outgoing();
  return looks.map(([time, pair, round, sent], n) => {
    const stats = [{ type: "outbound-rtp", kind: "video", timestamp: time, bytesSent: sent, headerBytesSent: 0 }];
    if (pair) stats.push({ type: "candidate-pair", id: pair, nominated: true, state: "succeeded", currentRoundTripTime: round / 1000 });
    return made.read(new Map(stats.map((r, at) => [at, r])), n * 1000);
  });
}"""


def test_another_pair_of_addresses_is_another_link(page: Any) -> None:
    looks = [(0, "A", 50, 0), (1000, "A", 50, 10_000), (2000, "", 0, 20_000), (3000, "B", 400, 30_000), (4000, "B", 400, 40_000)]
    found = page.evaluate(READ, looks)
    assert [f["other"] for f in found] == [False, False, False, True, False]
    assert found[1]["sent"] == found[4]["sent"] == 80_000
    assert "sent" not in found[3], "what went over two ways says nothing of either"
    assert found[3]["pair"] == 400


HELD = """async (samples) => {
  const base = document.querySelector("script[type=module]").src;
  const { Held, reason } = await import(new URL("held.js", base));
  const made = new Held();
  return samples.map(([now, reports]) => [made.take({ now, by: reason(new Map(reports.map((r, i) => [i, r]))) }), made.by]);
}"""


def test_what_holds_the_picture_back_is_said_once_it_has_lasted(page: Any) -> None:
    def sends(why: str, **more: Any) -> dict[str, Any]:
        return {"type": "outbound-rtp", "kind": "video", "active": True, "qualityLimitationReason": why, **more}

    free, sound = sends("none"), {"type": "outbound-rtp", "kind": "audio"}
    link, busy = [sends("bandwidth"), free, sound], [sends("bandwidth"), sends("cpu"), sound]
    resting = [sends("cpu", active=False), free]  # a layer that is not sent says nothing
    given = [
        (2_000, link), (6_000, link), (8_000, [free]), (12_000, busy), (16_000, link), (18_000, busy), (24_000, busy), (26_000, busy),
        (28_000, busy), (30_000, [free]), (36_000, busy), (40_000, resting), (46_000, [free]), (48_000, [sound]), (50_000, []),
        (60_000, link), (68_000, link),
    ]  # fmt: skip
    said = page.evaluate(HELD, given)
    changes = [(at, by) for (at, _), (news, by) in zip(given, said, strict=True) if news]
    assert changes == [(26_000, "device"), (48_000, ""), (68_000, "link")]
    assert [by for _, by in said] == [""] * 7 + ["device"] * 6 + [""] * 3 + ["link"]
