from health_hub.auth.limits import Rate, Waits, source
from health_hub.auth.lockout import Limit


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_holds_within_its_window_and_opens_again() -> None:
    clock = Clock()
    rate = Rate(3, 60, clock=clock)
    clock.now = 1020.0  # the beginning of a window
    assert [rate.take("a") for _ in range(3)] == [0, 0, 0]
    assert 0 < rate.take("a") <= 61
    assert rate.take("b") == 0
    clock.now += 121
    assert rate.take("a") == 0


def test_a_rate_cannot_be_doubled_at_the_edge_of_a_window() -> None:
    clock = Clock()
    rate = Rate(10, 60, clock=clock)
    clock.now = 1079.0  # one second before the window ends
    assert sum(rate.take("a") == 0 for _ in range(20)) == 10
    clock.now = 1081.0
    assert sum(rate.take("a") == 0 for _ in range(20)) <= 1


def test_a_flood_of_keys_takes_bounded_memory() -> None:
    rate, waits = Rate(3, 60, keys=100), Waits(Limit(1, 5, 60, 600), keys=100)
    for n in range(1000):
        rate.take(str(n))
        waits.count(str(n))
    assert len(rate) == len(waits) == 100


def test_guesses_wait_twice_as_long_each_time_and_are_forgotten() -> None:
    clock = Clock()
    waits = Waits(Limit(2, 5, 60, 600), clock=clock)
    seen = []
    for _ in range(7):
        waits.count("a")
        seen.append(waits.left("a"))
        clock.now += waits.left("a")
    assert seen == [0, 5, 10, 20, 40, 60, 60]
    assert waits.left("b") == 0
    clock.now += 601
    waits.count("a")
    assert waits.left("a") == 0


def test_a_right_guess_is_taken_back_and_the_wrong_ones_before_it_are_not() -> None:
    clock = Clock()
    waits = Waits(Limit(2, 5, 60, 600), clock=clock)
    waits.count("a")
    for _ in range(5):
        waits.count("a")
        waits.right("a")
        assert waits.left("a") == 0
    waits.count("a")
    assert waits.left("a") == 5


def test_who_an_address_stands_for() -> None:
    assert source("203.0.113.7") == source("::ffff:203.0.113.7") == "203.0.113.7"
    assert source("2001:db8:1:2::1") == source("2001:db8:1:2:ffff::9") != source("2001:db8:1:3::1")
    assert source("nonsense") == "-"
