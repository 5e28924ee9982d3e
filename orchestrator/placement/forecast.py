"""How much will be asked: the p95 of the next window's calls, from what gateways counted in the windows before it.

The larger of two figures, so that either may be wrong for want of history:

- The p95 of the recent windows themselves, by nearest rank. It knows bursts, and how often they come.
- The p95 of a Poisson count around the level: the newest window, or the exponentially smoothed ones where that is more
  (Brown, "Smoothing, Forecasting and Prediction", 1963). It follows a rise within one window, and it is what chance
  alone does to independent calls. Quantile by Cornish and Fisher's expansion: m + z sqrt(m) + (z^2 - 1) / 6.

Holt's trend was left out: a larger count long ago would lower it, and here more calls never forecast fewer. What was
not counted is no zero: it is left out. docs/decisions/0010-sketches-and-forecasts.md has the backtest.
"""

import math
from collections.abc import Sequence

WINDOW_S = 10.0
WINDOWS = 30  # of history: 5 minutes after the last call nothing is expected any more
DISCOUNT = 0.7  # of a window's weight in the level, for each newer one
Z_P95 = 1.645


def forecast_rps(counts: Sequence[float | None]) -> float:
    """`counts`: calls of each window, newest first; None: nobody counted then. Rises with every one of them."""
    known = [(DISCOUNT**at, count) for at, count in enumerate(counts[:WINDOWS]) if count is not None]
    if not known:
        return 0.0
    smoothed = sum(weight * count for weight, count in known) / sum(weight for weight, _ in known)
    ordered = sorted(count for _, count in known)
    usual = ordered[math.ceil(0.95 * len(ordered)) - 1]
    return max(_poisson_p95(max(smoothed, known[0][1])), usual) / WINDOW_S


def _poisson_p95(mean: float) -> float:
    return mean + Z_P95 * math.sqrt(mean) + (Z_P95**2 - 1) / 6 if mean > 0 else 0.0
