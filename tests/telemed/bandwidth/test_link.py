"""Calls over links in simulated time: what falls, what stays, and how soon it is back."""

import random

import pytest

from .link import Call, Link

LAYERS = {"l": 100_000, "m": 300_000, "h": 650_000}
TWO = {"l": 90_000, "h": 500_000}


def falling(start: float, stop: float, low: float = 100_000, jitter: float = 0.0) -> Link:
    return Link(lambda t: 2e6 if t < start else low if t < stop else 1e6, jitter=jitter, rng=random.Random(4))


@pytest.mark.parametrize(
    ("layers", "start", "lasting", "jitter"),
    [(LAYERS, 20.0, 30.0, 0.0), (LAYERS, 12.0, 60.0, 0.03), (TWO, 20.0, 45.0, 0.03), (LAYERS, 33.3, 8.0, 0.0), (TWO, 12.0, 27.7, 0.0)],
)
def test_fall_to_100_kbit_and_return(layers: dict[str, int], start: float, lasting: float, jitter: float) -> None:
    stop = start + lasting
    call = Call(falling(start, stop, jitter=jitter), layers).run(stop + 25)
    assert [tick.time for tick in call.ticks if tick.time < start][-1] > 0
    assert all(tick.choices[1].rid == "h" for tick in call.ticks if start - 2 < tick.time < start)
    assert not any(tick.choices[0].paused for tick in call.ticks)
    assert not [second for second in call.audio_lost if not start - 1 <= second <= start + 2]  # the queue that was there when it fell
    slow = sorted(delay for sent, delay in call.audio_delay if start + 4 < sent < stop)
    assert slow[int(len(slow) * 0.95)] < 0.25
    back = next(tick.time for tick in call.ticks if tick.time > stop and tick.choices[1].rid == "h")
    assert back - stop < 10
    assert call.switches(back + 0.1, stop + 25) == 0
    assert call.switches(start + 4, stop) <= 8


@pytest.mark.parametrize(
    ("rate", "jitter"), [(150e3, 0.0), (150e3, 0.03), (300e3, 0.03), (450e3, 0.0), (600e3, 0.03), (800e3, 0.03), (2e6, 0.03)]
)
def test_a_steady_link_sees_few_switches(rate: float, jitter: float) -> None:
    call = Call(Link(lambda _: rate, jitter=jitter), LAYERS).run(130)
    assert call.switches(10, 130) <= 3
    assert not call.audio_lost
    assert call.probe_octets * 8 / 130 < 0.03 * rate
    fitting = max(need for need in (40e3, 140e3, 340e3, 690e3) if need * 1.2 <= rate)
    assert call.ticks[-1].choices[1].bitrate + 40_000 >= fitting - 20_000


def test_random_loss_of_5_percent_leaves_the_estimate() -> None:
    for rate, least in ((300e3, 230_000), (1e6, 800_000)):
        call = Call(Link(lambda _, rate=rate: rate, loss=lambda _: 0.05), LAYERS).run(100)  # type: ignore[misc]
        assert call.estimates(10, 100)[5] > least
        assert call.switches(10, 100) <= 3


@pytest.mark.parametrize("rate", [300e3, 1e6])
def test_random_loss_of_20_percent_keeps_sound_and_some_video(rate: float) -> None:
    call = Call(Link(lambda _: rate, delay=0.15, loss=lambda _: 0.2, jitter=0.02), LAYERS).run(100)
    assert not any(tick.choices[0].paused for tick in call.ticks)
    late = [tick for tick in call.ticks if tick.time > 20]
    assert sum(tick.choices[1].paused for tick in late) < 0.05 * len(late)
    assert call.switches(20, 100) <= 6
    sent, lost = sum(call.audio_sent.values()), sum(call.audio_lost.values())
    assert lost / sent < 0.24  # what the link loses by itself, no queue overflows on top


def test_a_policer_without_queue_is_not_taken_for_random_loss() -> None:
    call = Call(Link(lambda _: 400e3, queue=0.03), LAYERS).run(100)
    assert sum(call.audio_lost.values()) / sum(call.audio_sent.values()) < 0.03
    assert call.estimates(30, 100)[-1] < 600_000


def test_a_cut_of_20_seconds_is_over_soon_after_it_ends() -> None:
    for jitter in (0.0, 0.03):
        call = Call(falling(15, 35, low=0, jitter=jitter), LAYERS).run(50)
        assert next(tick.time for tick in call.ticks if tick.time > 35 and tick.choices[1].rid == "h") < 40
        assert call.estimates(33, 35)[-1] < 60_000


def test_a_handover_that_holds_packets_back_changes_nothing() -> None:
    class Handover(Link):
        def carry(self, now: float, size: int) -> float | None:
            if now > 10 and now % 15 < 0.4:
                self.free_at = max(self.free_at, now - now % 15 + 0.4)
            return super().carry(now, size)

    call = Call(Handover(lambda _: 1e6, jitter=0.02), LAYERS).run(100)
    assert call.switches(12, 100) <= 2


def test_a_link_that_becomes_much_slower_is_noticed_before_its_queue_has_taken_the_sound() -> None:
    lost = []
    for phase in range(10):
        fall = 20.0 + phase / 70
        call = Call(Link(lambda t, fall=fall: 1e5 if t >= fall else 1e6, delay=0.03, queue=0.3), LAYERS, audio=48_000, seed=phase).run(23)  # type: ignore[misc]
        assert next(t.time for t in call.ticks if t.time > fall and t.choices[1].bitrate < 100_000) - fall < 0.45
        lost.append(sum(call.audio_lost.values()))
    assert sum(lost) / len(lost) < 15  # of 50 a second


@pytest.mark.parametrize("held", [0.06, 0.12, 0.18])
def test_packets_held_for_a_moment_now_and_then_cost_no_layer(held: float) -> None:
    """A busy phone or a shared radio: nothing is lost and nothing queues, packets come in bunches."""

    class Bunches(Link):
        def carry(self, now: float, size: int) -> float | None:
            since = now % 1.37
            if now > 10 and since < held:
                self.last = max(self.last, now + held - since + self.delay)
            return super().carry(now, size)

    call = Call(Bunches(lambda _: 20e6), {"": 500_000}).run(100)
    assert call.switches(12, 100) == 0
    assert call.estimates(12, 100)[0] > 600_000


def test_receiver_reports_alone_find_the_layer_and_keep_sound() -> None:
    call = Call(Link(lambda _: 1e6), LAYERS, transport_wide=False).run(60)
    assert call.ticks[-1].choices[1].rid == "h"
    assert call.switches(15, 60) <= 1
    call = Call(Link(lambda _: 400e3), LAYERS, transport_wide=False).run(240)
    assert call.switches(120, 240) <= 6  # what failed is tried ever more rarely
    assert sum(call.audio_lost.values()) / sum(call.audio_sent.values()) < 0.02


def test_a_long_way_does_not_matter() -> None:
    call = Call(Link(lambda _: 1e6, delay=0.3, jitter=0.02, loss=lambda _: 0.02), LAYERS).run(60)
    assert call.ticks[-1].choices[1].rid == "h"
    assert call.switches(15, 60) <= 1


def test_links_that_never_stand_still_keep_sound_in_time() -> None:
    late = []
    for seed in range(4):
        rng = random.Random(seed)
        rates = [100e3 * 20 ** rng.random() for _ in range(40)]
        call = Call(Link(lambda t, rates=rates: rates[int(t / 3) % 40], jitter=0.02, queue=1.0, rng=rng), LAYERS).run(100)  # type: ignore[misc]
        delays = sorted(delay for _, delay in call.audio_delay)
        late.append(delays[int(len(delays) * 0.95)])
        assert sum(call.audio_lost.values()) / sum(call.audio_sent.values()) < 0.03
    assert max(late) < 0.8
    assert sum(late) / len(late) < 0.5


@pytest.mark.parametrize(("cameras", "rate"), [(3, 300e3), (3, 1.5e6), (5, 3e6)])
def test_several_cameras_share_without_swinging(cameras: int, rate: float) -> None:
    call = Call(Link(lambda _: rate, jitter=0.02), LAYERS, cameras=cameras).run(130)
    assert call.switches(10, 130) <= 3 * cameras
    assert not any(choice.paused for choice in call.ticks[-1].choices)
    assert sum(choice.bitrate for choice in call.ticks[-1].choices) > 0.6 * rate
    assert not any(second > 10 for second in call.audio_lost)


def test_a_sender_that_looks_at_a_probe_only_every_20_ms() -> None:
    call = Call(falling(15, 40), LAYERS, probe_steps=4).run(60)
    assert next(tick.time for tick in call.ticks if tick.time > 40 and tick.choices[1].rid == "h") < 50


@pytest.mark.parametrize("delay", [0.01, 0.06, 0.15])
def test_a_thin_link_is_not_filled_before_anything_is_known_of_it(delay: float) -> None:
    """The first guess is above it; sound is whole and in time from the first second on."""
    layers = {"q": 100_000, "h": 200_000, "f": 650_000}
    call = Call(Link(lambda _: 200e3, delay=delay, queue=0.3), layers).run(20)
    assert not call.audio_lost
    assert {tick.choices[1].rid for tick in call.ticks} == {"q"}
    late = sorted(took for _, took in call.audio_delay)
    assert late[int(len(late) * 0.98)] - delay < 0.2
    # What a good link carries is found soon all the same.
    wide = Call(Link(lambda _: 2e6, delay=delay), layers).run(20)
    assert next(tick.time for tick in wide.ticks if tick.choices[1].rid != "q") < 3
    assert next(tick.time for tick in wide.ticks if tick.choices[1].rid == "f") < 4
