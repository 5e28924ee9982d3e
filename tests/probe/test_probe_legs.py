import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.probe.legs import MAX_AGE_S, ROUND_TRIPS, LegEstimate, LegWindow, RoundTrip, Transfer, quantile

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


@given(st.lists(RTTS, min_size=1, max_size=ROUND_TRIPS))
def test_a_leg_ten_times_slower_shows_at_once_in_p99_and_within_8_samples_in_p50(before: list[float]) -> None:
    slow_ms = 10 * max(before)
    window = window_of(before)
    now_s = float(len(before))
    window.add(RoundTrip(slow_ms, "test"), now_s)
    assert estimate_of(window, now_s).rtt_p99_ms == slow_ms
    for _ in range(7):
        now_s += 1
        window.add(RoundTrip(slow_ms, "test"), now_s)
    assert estimate_of(window, now_s).rtt_p50_ms == slow_ms


def test_a_leg_that_recovers_is_fast_again_after_one_window() -> None:
    window = window_of([100.0] * ROUND_TRIPS + [1.0] * ROUND_TRIPS)
    assert estimate_of(window, 2.0 * ROUND_TRIPS).rtt_p99_ms == 1.0


@given(st.lists(RTTS, min_size=1, max_size=60))
def test_percentiles_are_samples_in_order(rtts_ms: list[float]) -> None:
    window = window_of(rtts_ms)
    found = estimate_of(window, float(len(rtts_ms)))
    recent = rtts_ms[-ROUND_TRIPS:]
    assert found.rtt_p50_ms in recent
    assert found.rtt_p99_ms == max(recent)
    assert found.rtt_p50_ms <= found.rtt_p99_ms
    assert found.samples == len(recent)
    assert found.newest_age_s == 1.0


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
