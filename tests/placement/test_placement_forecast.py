"""How much will be asked: what must hold of any history, and how often a forecast is enough."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.placement.forecast import WINDOW_S, WINDOWS, forecast_rps

COUNTS = st.lists(st.none() | st.floats(0, 1e6), max_size=40)


@given(COUNTS, st.data())
def test_more_calls_never_forecast_fewer(counts: list[float | None], data: st.DataObject) -> None:
    more = [None if each is None else each + data.draw(st.sampled_from([0.0, 0.5, 1e5])) for each in counts]
    assert forecast_rps(more) >= forecast_rps(counts) * (1 - 1e-12)


@given(COUNTS)
def test_a_forecast_is_at_least_what_was_just_asked_and_never_absurd(counts: list[float | None]) -> None:
    known = [each for each in counts[:WINDOWS] if each is not None]
    found = forecast_rps(counts)
    assert found >= (known[0] / WINDOW_S if known else 0.0)
    assert found <= (max(known, default=0.0) + 2 * max(known, default=0.0) ** 0.5 + 1) / WINDOW_S


def test_of_nothing_nothing_is_forecast_and_of_one_call_hardly_more() -> None:
    assert forecast_rps([]) == forecast_rps([None, None]) == forecast_rps([0.0] * 40) == 0.0
    assert forecast_rps([1.0]) == pytest.approx(0.29, abs=0.01)  # 3 calls in 10 s


def test_what_nobody_counted_is_not_taken_for_silence() -> None:
    steady = [100.0] * WINDOWS
    gap = [None if 3 <= at < 20 else count for at, count in enumerate(steady)]
    assert forecast_rps(steady) == pytest.approx(11.7, abs=0.1)
    assert forecast_rps(gap) == pytest.approx(forecast_rps(steady))
    assert forecast_rps([None, None, *steady]) == pytest.approx(forecast_rps(steady))


def test_one_burst_in_five_minutes_is_not_the_usual_load_but_two_are() -> None:
    quiet = [10.0] * (WINDOWS - 1)
    assert forecast_rps([*quiet[:9], 500.0, *quiet[9:]]) < 4.0
    assert forecast_rps([*quiet[:9], 500.0, 500.0, *quiet[10:]]) == 50.0


def test_a_rise_is_followed_within_one_window_and_an_end_within_five_minutes() -> None:
    assert forecast_rps([1000.0, *[10.0] * 29]) > 100.0
    forecasts = [forecast_rps([*[0.0] * ended, *[1000.0] * WINDOWS]) for ended in range(WINDOWS + 1)]
    assert forecasts == sorted(forecasts, reverse=True)
    assert forecasts[WINDOWS - 1] < 0.1
    assert forecasts[WINDOWS] == 0.0


@pytest.mark.parametrize("mean", [0.5, 5, 50])
def test_of_independent_calls_95_windows_of_100_are_within_the_forecast(mean: float) -> None:
    chance = random.Random(11)

    def window() -> float:
        at, calls = chance.expovariate(mean), 0
        while at < 1:
            at, calls = at + chance.expovariate(mean), calls + 1
        return float(calls)

    counts = [window() for _ in range(600)]
    within = [counts[at] <= WINDOW_S * forecast_rps(counts[at - 1 :: -1]) for at in range(WINDOWS, len(counts))]
    assert 0.94 <= sum(within) / len(within) <= 0.99
