"""Which layers a subscriber gets: sound first, order of what is given up, and no swinging."""

import random
from itertools import pairwise

from telemed.relay.allocate import Allocator, Choice, Wanted

SHARES = (0.5, 0.7, 1.0)


def camera(track: str = "camera", priority: int = 0, scale: float = 1.0, **more: object) -> Wanted:
    layers = [
        (rid, t, int(rate * share * scale))
        for rid, rate in (("h", 900_000), ("l", 100_000), ("m", 300_000))
        for t, share in enumerate(SHARES)
    ]
    return Wanted(track, "video", layers, priority, **more)  # type: ignore[arg-type]


def sound(track: str = "sound") -> Wanted:
    return Wanted(track, "audio", [("", -1, 40_000)])


def settled(estimate: int, wanted: list[Wanted]) -> list[Choice]:
    allocator = Allocator()
    for step in range(30):
        choices = allocator.choose(step * 0.1, estimate, wanted)
    return choices


def steps_down(wanted: Wanted) -> list[tuple[str, int]]:
    """What is chosen while the estimate slowly falls from plenty to nothing."""
    seen: list[tuple[str, int]] = []
    for estimate in range(1_400_000, 0, -10_000):
        choice = settled(estimate, [sound(), wanted])[1]
        if not seen or seen[-1] != (choice.rid, choice.temporal):
            seen.append((choice.rid, choice.temporal))
    return seen


def test_a_camera_gives_up_picture_size_first_then_frames_then_pauses() -> None:
    assert steps_down(camera()) == [("h", 2), ("m", 2), ("l", 2), ("l", 1), ("l", 0), ("", -1)]


def test_a_screen_gives_up_frames_first() -> None:
    assert steps_down(camera(screen=True)) == [(rid, temporal) for rid in "hml" for temporal in (2, 1, 0)] + [("", -1)]


def test_one_layer_without_parts_is_there_or_not() -> None:
    wanted = Wanted("x", "video", [("", -1, 200_000)])
    assert settled(400_000, [wanted])[0] == Choice("x", "", -1, False, 200_000, "")
    assert settled(100_000, [wanted])[0] == Choice("x", "", -1, True, 0, "bandwidth")


def test_what_ran_before_anything_was_known_keeps_its_place_without_headroom() -> None:
    measured = Wanted("x", "video", [("", -1, 500_000)])
    for first in ([Wanted("x", "video", [("", -1, 0)])], [measured]):  # its rate is known later than the link, or before it
        allocator = Allocator()
        assert first[0].layers[0][2] == 0 or not allocator.choose(0.0, 300_000, [measured], proven=False)[0].paused
        assert allocator.choose(0.1, 510_000, first, proven=False)[0].reason != "bandwidth"
        for step in range(2, 30):
            assert not allocator.choose(step * 0.1, 510_000, [measured])[0].paused  # a climb would need 575,000
    assert allocator.choose(3.0, 250_000, [measured])[0].paused


def test_sound_is_never_given_up_and_video_gets_only_what_it_leaves() -> None:
    wanted = [camera(), sound("a"), sound("b"), sound("c"), Wanted("silent", "audio", [("", -1, 0)])]
    for estimate in (0, 1_000, 50_000, 150_000, 220_000, 500_000):
        choices = settled(estimate, wanted)
        assert not any(choice.paused for choice in choices[1:])
        assert choices[0].bitrate + 3 * 40_000 + 32_000 <= max(estimate, 152_000)


def test_priority_goes_first_but_everyone_gets_the_least() -> None:
    choices = settled(1_250_000, [sound(), camera("a"), camera("b", priority=5), camera("c")])
    assert [choice.rid for choice in choices] == ["", "l", "h", "l"]
    choices = settled(1_600_000, [sound(), camera("a"), camera("b", priority=5)])
    assert (choices[1].rid, choices[2].rid) == ("m", "h")
    choices = settled(800_000, [sound(), camera("a"), camera("b")])
    assert (choices[1].rid, choices[2].rid) == ("m", "m")
    choices = settled(120_000, [sound(), camera("a"), camera("b", priority=5)])
    assert (choices[1].paused, choices[2].paused) == (True, False)


def test_what_the_subscriber_asked_for() -> None:
    choices = settled(5_000_000, [camera("a", limit="m"), camera("b", paused=True), Wanted("c", "video", [("l", 0, 0)])])
    assert [(choice.rid, choice.paused, choice.reason) for choice in choices] == [
        ("m", False, "asked"),
        ("", True, "asked"),
        ("", True, "source"),
    ]


def test_noise_of_rates_and_estimate_moves_nothing() -> None:
    rng = random.Random(5)
    allocator = Allocator()
    seen: list[tuple[str, int]] = []
    for step in range(1_200):  # two minutes; key frames now and then double a layer's rate
        burst = 2.0 if step % 100 == 50 else 1.0
        estimate = int(430_000 * rng.uniform(0.93, 1.07))
        choice = allocator.choose(step * 0.1, estimate, [sound(), camera(scale=burst * rng.uniform(0.95, 1.05))])[1]
        if step > 30:
            seen.append((choice.rid, choice.temporal))
    assert sum(a != b for a, b in pairwise(seen)) <= 2


def test_failed_climbs_are_tried_ever_more_rarely() -> None:
    allocator = Allocator()
    climbs: list[float] = []
    level = ""
    for step in range(6_000):
        now = step * 0.1
        estimate = 1_200_000 if level != "h" or now - climbs[-1] < 0.5 else 600_000  # looks good until it is used
        choice = allocator.choose(now, estimate, [sound(), camera()])[1]
        if choice.rid == "h" and level != "h":
            climbs.append(now)
        level = choice.rid
    gaps = [b - a for a, b in pairwise(climbs)]
    assert len(climbs) < 25
    assert gaps[:4] == sorted(gaps[:4])
    assert gaps[-1] > 20


def test_a_far_better_link_ends_the_waiting() -> None:
    allocator = Allocator()
    level = ""
    climbed = 0.0
    for step in range(600):  # the 300 kbit/s layer fails again and again
        now = step * 0.1
        estimate = 420_000 if level != "m" or now - climbed < 0.5 else 200_000
        choice = allocator.choose(now, estimate, [sound(), camera()])[1]
        if choice.rid == "m" and level != "m":
            climbed = now
        level = choice.rid
    for step in range(600, 620):
        choice = allocator.choose(step * 0.1, 2_000_000, [sound(), camera()])[1]
    assert choice.rid == "h"


def test_new_tracks_are_served_at_once_and_gone_ones_leave_room() -> None:
    allocator = Allocator()
    for step in range(20):
        allocator.choose(step * 0.1, 1_200_000, [sound(), camera("a")])
    choices = allocator.choose(2.0, 1_200_000, [sound(), camera("a"), camera("s", priority=10, screen=True)])
    assert not choices[2].paused
    assert sum(choice.bitrate for choice in choices) <= 1_200_000
    for step in range(21, 60):
        choices = allocator.choose(step * 0.1, 1_200_000, [sound(), camera("a")])
    assert choices[1].rid == "h"


def test_the_outlook_tells_what_to_probe_for() -> None:
    allocator = Allocator()
    allocator.choose(0.0, 200_000, [sound(), camera()])
    assert 380_000 < allocator.following < 400_000  # 40 + 300 kbit/s and headroom
    assert 1_080_000 < allocator.everything < 1_100_000
    allocator.choose(0.1, 200_000, [sound()])
    assert allocator.following == allocator.everything < 50_000
    assert allocator.choose(0.2, 200_000, []) == []
