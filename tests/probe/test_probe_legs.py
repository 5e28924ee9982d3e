import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.probe.legs import MAX_AGE_S, RECENT, LegEstimate, LegWindow, RoundTrip, Transfer, quantile

RTTS = st.floats(0.01, 10_000, allow_nan=False)


def window_of(rtts_ms: list[float], interval_s: float = 1.0) -> LegWindow:
    window = LegWindow("site/a", "front/b")
    for number, rtt_ms in enumerate(rtts_ms):
        window.add(RoundTrip(rtt_ms, "test"), number * interval_s)
    return window


def estimate_of(window: LegWindow, now_s: float) -> LegEstimate:
    found = window.estimate(now_s)
    assert found is not None
    return found


def test_an_empty_window_knows_nothing_and_one_sample_is_enough() -> None:
    window = LegWindow("site/a", "front/b")
    assert window.estimate(0.0) is None
    window.add(Transfer(1000, 1.0, 1000, 1.0, "test"), 0.0)
    assert window.estimate(0.0) is None  # throughput alone says nothing of latency
    window.add(RoundTrip(12.5, "test"), 3.0)
    assert window.estimate(5.0) == LegEstimate("site/a", "front/b", 12.5, 12.5, 8000.0, 8000.0, 1, 2.0, "test")


@given(st.lists(st.floats(1.0, 1_000), min_size=1, max_size=60))
def test_a_leg_ten_times_slower_shows_at_once_in_p99_and_within_8_samples_in_p50(before: list[float]) -> None:
    slow_ms = 10 * max(before)
    window = window_of(before, 0.1)
    now_s = 0.1 * len(before)
    window.add(RoundTrip(slow_ms, "test"), now_s)
    assert estimate_of(window, now_s).rtt_p99_ms == slow_ms
    for _ in range(RECENT - 1):
        now_s += 0.1
        window.add(RoundTrip(slow_ms, "test"), now_s)
    assert estimate_of(window, now_s).rtt_p50_ms == slow_ms


def test_a_leg_that_recovers_is_fast_again_within_8_samples() -> None:
    window = window_of([100.0] * 40 + [1.0] * RECENT, 0.1)
    found = estimate_of(window, 4.8)
    assert (found.rtt_p50_ms, found.rtt_p99_ms, found.samples) == (1.0, 1.0, RECENT)


def test_one_hiccup_in_a_full_window_is_not_the_tail() -> None:
    window = window_of([*[10.0] * 150, 200.0, *[10.0] * 100], 0.1)
    assert estimate_of(window, 25.1).rtt_p99_ms == 10.0


@given(st.lists(RTTS, min_size=1, max_size=60))
def test_percentiles_are_samples_in_order(rtts_ms: list[float]) -> None:
    window = window_of(rtts_ms, 0.1)
    found = estimate_of(window, 0.1 * len(rtts_ms))
    counted = rtts_ms[-found.samples :]
    assert found.samples in range(min(len(rtts_ms), RECENT), len(rtts_ms) + 1)
    assert found.rtt_p50_ms in counted
    assert found.rtt_p99_ms == max(counted)  # too few for anything but the worst
    assert found.newest_age_s == pytest.approx(0.1)


def test_old_samples_are_forgotten() -> None:
    window = window_of([5.0, 7.0])
    assert estimate_of(window, MAX_AGE_S + 0.5).samples == 1
    assert window.estimate(MAX_AGE_S + 2.0) is None


def test_throughput_is_the_median_of_transfers_and_never_infinite() -> None:
    window = window_of([1.0])
    for up_s in (0.1, 0.2, 10.0):
        window.add(Transfer(100_000, up_s, 50_000, 0.0, "test"), 0.5)
    found = estimate_of(window, 1.0)
    assert found.up_bps == pytest.approx(8 * 100_000 / 0.2)
    assert found.down_bps is not None
    assert math.isfinite(found.down_bps)


@given(st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1), st.floats(0, 1))
def test_a_quantile_has_its_share_at_or_below(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < max(1e-9, share * len(values)) or found == min(values)
