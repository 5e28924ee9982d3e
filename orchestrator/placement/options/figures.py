"""Figures that a person would write: two digits below 100, three from there on."""

import math


def up(value: float, whole: bool = False) -> float:
    """The least figure that is not below `value`, which is above 0."""
    if whole:
        value = math.ceil(value)
    step = _step(value)
    count = math.ceil(value / step - 1e-9)
    found = _clean(count * step)
    return found if found >= value else _clean((count + 1) * step)


def before(value: float, whole: bool = False) -> float:
    """The greatest figure below `value`; 0 where that is no more than 1 and `whole` ones are asked for."""
    below = value * (1 - 1e-9)
    found = _clean(math.floor(below / _step(below)) * _step(below))
    return float(math.floor(found)) if whole else found


def down_to_accuracy(value: float) -> float:
    """Four decimals, not above `value`."""
    found = _clean(math.floor(value * 1e4 + 1e-9) / 1e4)
    return found if found <= value else _clean(found - 1e-4)


def _step(value: float) -> float:
    digits = 2 if value < 100 else 3
    return float(10.0 ** (math.floor(math.log10(value)) - digits + 1))


def _clean(value: float) -> float:
    return float(f"{value:.9g}")
