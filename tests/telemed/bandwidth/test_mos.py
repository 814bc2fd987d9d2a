"""Opinion scores follow the E-model's known points and fall with every impairment."""

import pytest

from telemed.relay.mos import mos, rating


def test_a_clean_link_is_as_good_as_it_gets() -> None:
    assert 4.35 < mos(0.0, 0.0, 0.02) < 4.45
    assert rating(0.0, 0.0, 0.0) == pytest.approx(93.2, abs=1.0)


def test_loss_delay_and_jitter_each_cost() -> None:
    assert mos(0.0, 0.0, 0.1) > mos(0.02, 0.0, 0.1) > mos(0.05, 0.0, 0.1) > mos(0.2, 0.0, 0.1) > mos(0.5, 0.0, 0.1) >= 1.0
    assert mos(0.0, 0.0, 0.1) > mos(0.0, 0.0, 0.4) > mos(0.0, 0.0, 0.8) > mos(0.0, 0.0, 2.0)
    assert mos(0.0, 0.005, 0.3) > mos(0.0, 0.05, 0.3)
    assert mos(0.05, 0.0, 0.1) > mos(0.05, 0.0, 0.1, fec=False)


def test_known_regions_and_nonsense() -> None:
    assert 3.5 < mos(0.05, 0.01, 0.15) < 4.0  # fair to good
    assert mos(0.2, 0.02, 0.3) < 3.0
    assert mos(7.0, 99.0, 99.0) == 1.0
    assert mos(-1.0, -1.0, -1.0) <= 4.5
