import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.link.v1 import link_pb2
from workers.probe.bounds import FEWEST, p99_bounds_ms
from workers.probe.legs import LegWindow, RoundTrip, quantile
from workers.probe.sketch import ACCURACY, LEAST_MS, MOST_MS, MOST_SAMPLES, Bins, RttSketch
from workers.probe.wire import bins_of, leg_message

RTTS = st.lists(st.floats(LEAST_MS, MOST_MS), min_size=1, max_size=80)


@given(RTTS, st.floats(0, 1))
def test_a_quantile_is_within_the_accuracy_of_the_sample(rtts_ms: list[float], share: float) -> None:
    assert RttSketch(rtts_ms).quantile(share) == pytest.approx(quantile(rtts_ms, share), rel=ACCURACY + 1e-9)


@given(st.lists(RTTS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_merging_is_taking_all_samples_in_whatever_order(parts: list[list[float]], chance: random.Random) -> None:
    whole = RttSketch(rtt_ms for part in parts for rtt_ms in part)
    chance.shuffle(parts)
    merged, taken = RttSketch(), RttSketch()
    for part in parts:
        merged.merge(RttSketch(part))
        taken.take(RttSketch(part).bins())
    assert merged.bins() == taken.bins() == whole.bins()
    assert merged.samples == taken.samples == whole.samples == sum(len(part) for part in parts)


def test_what_no_link_takes_is_cut_to_the_bounds() -> None:
    sketch = RttSketch([0.0, -1.0, 1e9])
    assert (sketch.at_rank(1), sketch.worst_ms, sketch.samples) == (LEAST_MS, MOST_MS, 3)


@pytest.mark.parametrize(
    "bins",
    [
        Bins((), (), 1.0, 1.0),
        Bins((0,), (1, 1), 1.0, 1.0),
        Bins((0,), (0,), 1.0, 1.0),
        Bins((0,), (MOST_SAMPLES + 1,), 1.0, 1.0),
        Bins((5, 0), (1, 1), 1.0, 1.1),
        Bins((0, 0), (1, 1), 1.0, 1.0),
        Bins((0, 1 << 30), (1, 1), 1.0, 2.0),
        Bins((-(1 << 30), 0), (1, 1), 1.0, 1.0),
        Bins((0,), (1,), math.nan, 1.0),
        Bins((0,), (1,), 1.0, math.inf),
        Bins((0,), (1,), 2.0, 1.0),
        Bins((0,), (1,), -1.0, 1.0),
    ],
)
def test_bins_that_no_samples_make_are_refused_and_change_nothing(bins: Bins) -> None:
    sketch = RttSketch([7.0])
    with pytest.raises(ValueError, match=r"\d|rise"):
        sketch.take(bins)
    assert sketch.bins() == RttSketch([7.0]).bins()


def test_many_large_sketches_are_merged_as_far_as_the_bounds_can_be_reckoned() -> None:
    full = Bins(RttSketch([10.0]).bins().keys, (MOST_SAMPLES,), 10.0, 10.0)
    sketch = RttSketch()
    sketch.take(full)
    with pytest.raises(ValueError, match="together"):
        sketch.take(RttSketch([10.0]).bins())
    assert p99_bounds_ms(sketch) == (10.0, 10.0)
    local = RttSketch()
    local.add(10.0, 1e6)  # 0.99 to this power is 0
    assert p99_bounds_ms(local)[1] >= 10.0


@given(RTTS)
def test_a_sketch_travels_unchanged(rtts_ms: list[float]) -> None:
    window = LegWindow("site/a", "front/b")
    for rtt_ms in rtts_ms:
        window.add(RoundTrip(rtt_ms, "test"), 0.0)
    estimate = window.estimate(0.0)
    assert estimate is not None
    sent = link_pb2.LegEstimate.FromString(leg_message(estimate).SerializeToString())
    assert bins_of(sent.round_trips) == estimate.round_trips
    assert sent.rtt_p99_high_ms == estimate.rtt_p99_high_ms


def test_a_sketch_of_another_accuracy_is_refused() -> None:
    with pytest.raises(ValueError, match="accuracy"):
        bins_of(link_pb2.Sketch(accuracy=0.02, keys=[0], counts=[1], least_ms=1, worst_ms=1))


@given(RTTS)
def test_the_interval_holds_the_estimate(rtts_ms: list[float]) -> None:
    sketch = RttSketch(rtts_ms)
    low_ms, high_ms = p99_bounds_ms(sketch)
    assert sketch.at_rank(1) <= low_ms <= sketch.quantile(0.99) <= high_ms
    assert high_ms > sketch.worst_ms  # fewer than 299: the worst is no upper end


def test_from_299_samples_on_the_upper_end_is_a_sample() -> None:
    """P(no sample above the p99) = 0.99^299 = 0.0495, the first below 0.05."""
    assert p99_bounds_ms(RttSketch(map(float, range(1, 300))))[1] == 299.0
    assert p99_bounds_ms(RttSketch(map(float, range(1, 299))))[1] > 298.0
    low_ms, high_ms = p99_bounds_ms(RttSketch(map(float, range(1, 10_001))))
    # 10,000 samples: 100 lie above the p99, give or take 16.4 = 1.645 * sqrt(99).
    assert low_ms == pytest.approx(9_884, rel=ACCURACY)
    assert high_ms == pytest.approx(9_916, rel=ACCURACY)
    assert low_ms < high_ms


@pytest.mark.parametrize("samples", [FEWEST, 12, 60, 240, 299])
@pytest.mark.parametrize(
    ("draw", "p99_ms"),
    [
        (lambda chance: 10 + chance.expovariate(0.5), 10 + 2 * math.log(100)),
        (lambda chance: chance.uniform(5, 6), 5.99),
        (lambda chance: 20 + abs(chance.gauss(0, 1)), 20 + 2.5758),
    ],
    ids=["exponential", "uniform", "half-normal"],
)
def test_nine_of_ten_intervals_hold_the_links_p99(
    samples: int, draw: Callable[[random.Random], float], p99_ms: float
) -> None:
    chance, tries = random.Random(7), 100
    intervals = [p99_bounds_ms(RttSketch(draw(chance) for _ in range(samples))) for _ in range(tries)]
    held = sum(low * (1 - ACCURACY) <= p99_ms <= high * (1 + ACCURACY) for low, high in intervals)
    assert held >= 0.9 * tries
