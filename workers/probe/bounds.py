"""How far the p99 of few samples may be from the link's: an interval that holds it in 90 windows of 100.

Distribution-free, by order statistics (David, Nagaraja: "Order Statistics", 3rd ed., 7.1): of n samples, how many lie
above the p99 is binomial, so that each end is a sample that the p99 passes with a probability of 5% at most. The worst
sample is an upper end only from 299 samples on. With fewer it is the upper end of a lower quantile, p = 0.05^(1/n);
from there to the p99 the tail beyond the median is taken for exponential, as queues are. And since a few equal samples
show no tail at all, the upper end is never nearer to the worst than the chance that the p99 lies beyond it.
"""

import math

from workers.probe.sketch import RttSketch

SHARE = 0.99
MISSED = 0.05  # at each end
FEWEST = 5  # with fewer, that lower quantile is below the median


def p99_bounds_ms(sketch: RttSketch) -> tuple[float, float]:
    """Low and high; `sketch` is not empty."""
    low_above, high_above = _above(sketch.samples)
    low_ms = sketch.at_rank(sketch.samples - low_above)
    return low_ms, _beyond_worst_ms(sketch) if high_above is None else sketch.at_rank(sketch.samples - high_above)


def _above(samples: int) -> tuple[int, int | None]:
    """How many samples may lie above the interval's low end, and above its high end (None: the worst is too low)."""
    chance = SHARE**samples  # that exactly `count` samples lie above the p99
    total, count, high = chance, 0, None
    while total < 1 - MISSED and count < samples:
        if total <= MISSED:
            high = count
        chance *= (samples - count) / (count + 1) * (1 - SHARE) / SHARE
        count += 1
        total += chance
    return min(count, samples - 1), high


def _beyond_worst_ms(sketch: RttSketch) -> float:
    median_ms, worst_ms, samples = sketch.quantile(0.5), sketch.worst_ms, sketch.samples
    bounded = MISSED ** (1 / max(samples, FEWEST))  # the quantile that the worst sample bounds
    tail = math.log(0.5 / (1 - SHARE)) / math.log(0.5 / (1 - bounded))
    return max(median_ms + (worst_ms - median_ms) * tail, worst_ms * (1 + SHARE**samples))
