"""The estimator piece by piece: trend, probes, silence, and peers that only send reports."""

import random

from telemed.relay.estimator import Estimator
from telemed.relay.probe import Probe, outcome, plan
from telemed.relay.trend import NORMAL, OVER, UNDER, Trend
from telemed.relay.twcc import Acknowledged


def packets(start: float, count: int, gap: float, delay: float, growth: float) -> list[Acknowledged]:
    return [(start + n * gap, start + n * gap + delay + n * growth, 1_000) for n in range(count)]


def test_the_trend_tells_growing_from_steady_and_draining_queues() -> None:
    trend = Trend()
    assert trend.feed(packets(0, 200, 0.02, 0.05, 0.0)) == NORMAL
    assert trend.feed(packets(4, 60, 0.02, 0.05, 0.003)) == OVER
    assert trend.feed(packets(5.2, 60, 0.02, 0.23, -0.003)) == UNDER
    assert trend.feed(packets(6.4, 400, 0.02, 0.05, 0.0)) == NORMAL
    rng = random.Random(2)
    noisy: list[Acknowledged] = [(n * 0.02, n * 0.02 + 0.05 + rng.random() * 0.03, 200) for n in range(3_000)]
    states = [Trend().feed(noisy[n : n + 100]) for n in range(0, 3_000, 100)]
    assert states.count(OVER) <= 3


def test_the_trend_lives_through_hours_and_clock_jumps() -> None:
    trend = Trend()
    for hour in range(0, 40_000, 400):
        assert trend.feed([(hour + n * 4.0, hour + n * 4.0000004 + 0.05, 100) for n in range(100)]) != OVER
    trend = Trend()
    trend.feed(packets(0, 100, 0.02, 0.05, 0.0))
    assert trend.feed(packets(2, 100, 0.02, 900.0, 0.0)) == NORMAL
    assert trend.feed(packets(4, 100, 0.02, -900.0, 0.0)) == NORMAL


def test_a_probe_is_paced_and_counts_media() -> None:
    probe = plan(10.0, 800_000, 0.0)
    assert probe.seconds >= 0.05
    total = 0
    for tick in range(40):
        now = 10.0 + tick * 0.005
        if tick == 4:
            probe.spent(1_200)
        due = probe.due(now)
        total += due
        probe.spent(due)
    assert total + 1_200 == probe.size
    assert plan(0.0, 100_000, 0.0).packet < 200  # several packets even of a slow probe
    assert plan(0.0, 100_000, 0.5).seconds == 0.2


def test_what_probes_show() -> None:
    def burst(rate: float, link: float, lose: int = 0) -> list[Acknowledged]:
        free, out = 0.0, []
        for n in range(20):
            sent = n * 1_000 * 8 / rate
            free = max(free, sent) + 8_000 / link
            out.append((sent, None if lose and n % lose == 0 else free + 0.05, 1_000))
        return out

    fast = outcome(burst(1e6, 1e7), 0.0)
    assert fast is not None
    assert not fast.full
    assert 0.95e6 < fast.rate < 1.05e6
    slow = outcome(burst(1e6, 4e5), 0.0)
    assert slow is not None
    assert slow.full
    assert 3.5e5 < slow.rate < 4.1e5
    lossy = outcome(burst(1e6, 1e7, lose=3), 0.0)
    assert lossy is not None
    assert lossy.full
    assert outcome(burst(1e6, 1e7)[:4], 0.0) is None
    assert outcome([(n * 0.01, 5.0, 1_000) for n in range(10)], 0.0) is None  # delivered in one go
    assert outcome([(1.0, 2.0 + n * 0.01, 1_000) for n in range(10)], 0.0) is None  # sent in one go


def steady(
    estimator: Estimator, start: float, seconds: float, sequence: int = 0, size: int = 500, lost: int = 0
) -> tuple[float, int, list[Probe]]:
    """20 ms packets over a fast link, feedback every 100 ms."""
    probes = []
    now = start
    arrivals: list[tuple[int, int | None]] = []
    for n in range(int(seconds / 0.02)):
        now = start + n * 0.02
        estimator.history.sent(sequence, now, 500)
        arrivals.append((sequence, int((now + 0.05) * 1e6)))
        sequence = sequence + 1 & 0xFFFF
        if n % 5 == 4:
            estimator.on_feedback(now + 0.06, arrivals)
            arrivals = []
            if (probe := estimator.poll(now)) is not None:
                probes.append(probe)
    return now, sequence, probes


def test_nothing_wanted_nothing_probed_and_the_estimate_stays() -> None:
    estimator = Estimator(0.0)
    estimator.want(50_000, 50_000)
    assert steady(estimator, 0.0, 30.0)[2] == []
    assert 250_000 < estimator.bitrate < 400_000
    assert 190_000 < estimator.acknowledged < 210_000
    assert 0.0 < estimator.round_trip < 0.2


def test_more_wanted_is_probed_for() -> None:
    estimator = Estimator(0.0)
    estimator.want(800_000, 2_000_000)
    probes = steady(estimator, 0.0, 20.0)[2]
    assert len(probes) >= 3
    assert all(probe.rate <= 2_200_000 for probe in probes)


def test_silence_lowers_and_the_return_asks_for_what_was() -> None:
    estimator = Estimator(0.0, start=800_000)
    estimator.want(1_000_000, 1_000_000)
    now, sequence, _ = steady(estimator, 0.0, 3.0)
    for n in range(100):
        estimator.history.sent(sequence + n, now + n * 0.1, 500)
        estimator.poll(now + n * 0.1)
    assert estimator.bitrate < 60_000
    assert len(steady(estimator, now + 12.0, 1.0, sequence + 100)[2]) == 1


def test_a_quiet_sender_is_not_a_cut_link() -> None:
    estimator = Estimator(0.0, start=800_000)
    now, _, _ = steady(estimator, 0.0, 3.0)
    before = estimator.bitrate
    for n in range(100):
        estimator.poll(now + n * 0.1)  # nothing sent, so nothing comes back
    assert estimator.bitrate == before


def test_reports_alone() -> None:
    estimator = Estimator(0.0)
    estimator.want(500_000, 1_000_000)
    for second in range(1, 20):
        estimator.on_report(float(second), 0.0, 0.1, 250_000)
    assert 500_000 <= estimator.bitrate <= 540_000
    estimator.on_report(20.0, 0.3, 0.1, 500_000)
    estimator.on_report(21.0, 0.3, 0.1, 450_000)
    lowered = estimator.bitrate
    assert lowered < 460_000
    estimator.on_report(22.0, 0.0, 0.8, 400_000)  # no loss, but a queue of 700 ms
    assert estimator.bitrate < 350_000


def test_remb_is_a_ceiling_without_transport_wide_feedback_only() -> None:
    estimator = Estimator(0.0)
    estimator.want(2_000_000, 2_000_000)
    estimator.on_remb(1.0, 900_000)
    assert estimator.bitrate == 900_000
    assert estimator.poll(1.1) is not None  # padding lets the receiver's estimate grow
    estimator.on_remb(2.0, 120_000)
    assert estimator.bitrate == 120_000
    estimator.poll(10.0)
    assert estimator.bitrate == 900_000  # old ones no longer count
    steady(estimator, 11.0, 1.0)
    estimator.on_remb(12.0, 50_000)
    assert estimator.bitrate > 100_000


def test_foreign_feedback_moves_nothing() -> None:
    estimator = Estimator(0.0)
    rng = random.Random(1)
    for n in range(200):
        estimator.on_feedback(n * 0.1, [(rng.randrange(65_536), rng.choice((None, rng.randrange(1 << 40)))) for _ in range(50)])
    assert estimator.bitrate == 300_000


def test_hostile_arrival_times_stay_within_bounds() -> None:
    rng = random.Random(9)
    estimator = Estimator(0.0, minimum=40_000, maximum=5_000_000)
    estimator.want(10**7, 10**7)
    sequence = 0
    for n in range(2_000):
        now = n * 0.02
        for _ in range(3):
            estimator.history.sent(sequence, now, 1_200)
            sequence = sequence + 1 & 0xFFFF
        estimator.on_feedback(now, [(sequence - 1 - k & 0xFFFF, rng.choice((None, rng.randrange(-(1 << 39), 1 << 40)))) for k in range(6)])
        estimator.poll(now)
        assert 40_000 <= estimator.bitrate <= 5_000_000
