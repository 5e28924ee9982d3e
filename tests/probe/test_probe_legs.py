import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.probe.legs import MAX_AGE_S, RECENT, SLICES, LegEstimate, LegWindow, RoundTrip, Transfer, quantile
from workers.probe.sketch import ACCURACY

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
    found = estimate_of(window, 5.0)
    assert (found.source, found.target, found.method) == ("site/a", "front/b", "test")
    assert found.rtt_p50_ms == found.rtt_p95_ms == found.rtt_p99_ms == found.rtt_p99_low_ms == 12.5
    assert found.rtt_p99_high_ms == pytest.approx(2 * 12.5, rel=0.01)  # one sample says next to nothing of a p99
    assert found.up_bps == found.up_p10_bps == found.down_bps == found.down_p10_bps == 8000.0
    assert (found.samples, found.newest_age_s) == (1, 2.0)


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
    assert estimate_of(window, now_s).rtt_p50_ms == pytest.approx(slow_ms, rel=ACCURACY)


def test_a_leg_that_recovers_is_fast_again_within_8_samples() -> None:
    window = window_of([100.0] * 40 + [1.0] * RECENT, 0.1)
    found = estimate_of(window, 4.8)
    assert (found.rtt_p50_ms, found.rtt_p99_ms, found.samples) == (1.0, 1.0, RECENT)


def test_one_hiccup_in_a_full_window_is_not_the_tail() -> None:
    window = window_of([*[10.0] * 150, 200.0, *[10.0] * 100], 0.1)
    assert estimate_of(window, 25.1).rtt_p99_ms == pytest.approx(10.0, rel=ACCURACY)


@given(st.lists(RTTS, min_size=1, max_size=60))
def test_percentiles_are_samples_in_order(rtts_ms: list[float]) -> None:
    window = window_of(rtts_ms, 0.1)
    found = estimate_of(window, 0.1 * len(rtts_ms))
    counted = rtts_ms[-found.samples :]
    assert found.samples in range(min(len(rtts_ms), RECENT), len(rtts_ms) + 1)
    assert found.rtt_p05_ms == pytest.approx(quantile(counted, 0.05), rel=ACCURACY)
    assert found.rtt_p50_ms == pytest.approx(quantile(counted, 0.5), rel=ACCURACY)
    assert found.rtt_p95_ms == pytest.approx(quantile(counted, 0.95), rel=ACCURACY)
    assert found.rtt_p99_ms == max(counted)  # too few for anything but the worst
    assert (
        min(counted)
        <= found.rtt_p05_ms
        <= found.rtt_p50_ms
        <= found.rtt_p95_ms
        <= found.rtt_p99_ms
        < found.rtt_p99_high_ms
    )
    assert found.rtt_p99_low_ms <= found.rtt_p99_ms
    assert found.newest_age_s == pytest.approx(0.1)


def test_old_samples_are_forgotten() -> None:
    window = window_of([5.0, 7.0])
    assert estimate_of(window, MAX_AGE_S + 0.5).samples == 1
    assert window.estimate(MAX_AGE_S + 2.0) is None


def test_a_window_forgets_by_slices_and_holds_nothing_older_than_its_age() -> None:
    """At one sample a second, each as long as it is late: the quickest that is left says how far back it remembers."""
    window = LegWindow("site/a", "front/b")
    for second in range(200):
        window.add(RoundTrip(1000.0 + second, "test"), float(second))
        found = estimate_of(window, float(second))
        oldest_s = found.round_trips.least_ms - 1000.0
        assert max(0.0, second - MAX_AGE_S) <= oldest_s <= max(0.0, second - MAX_AGE_S + MAX_AGE_S / SLICES)
        assert found.samples == second - oldest_s + 1


@given(st.lists(st.tuples(RTTS, st.floats(0, 2)), min_size=1, max_size=200))
def test_a_window_is_as_large_as_what_lies_between_its_samples(steps: list[tuple[float, float]]) -> None:
    window, now_s = LegWindow("site/a", "front/b"), 0.0
    for rtt_ms, wait_s in steps:
        now_s += wait_s
        window.add(RoundTrip(rtt_ms, "test"), now_s)
    found = estimate_of(window, now_s)
    assert sum(found.round_trips.counts) == found.samples <= len(steps)
    assert found.newest_age_s == 0.0


def test_throughput_is_the_median_of_transfers_and_never_infinite() -> None:
    window = window_of([1.0])
    for up_s in (0.1, 0.2, 10.0):
        window.add(Transfer(100_000, up_s, 50_000, 0.0, "test"), 0.5)
    found = estimate_of(window, 1.0)
    assert found.up_bps == pytest.approx(8 * 100_000 / 0.2)
    assert found.up_p10_bps == pytest.approx(8 * 100_000 / 10.0)
    assert found.down_bps is not None
    assert math.isfinite(found.down_bps)


@given(st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1), st.floats(0, 1))
def test_a_quantile_has_its_share_at_or_below(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < max(1e-9, share * len(values)) or found == min(values)
