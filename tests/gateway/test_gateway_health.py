"""Ejection windows, retry budget and demand counts: values over time."""

from hypothesis import given
from hypothesis import strategies as st

from workers.gateway.budget import BURST, PER_S, SHARE_OF_CALLS, RetryBudget
from workers.gateway.choice import ServiceKey
from workers.gateway.demand import Demand, DemandCounter
from workers.gateway.health import FORGOTTEN_AFTER_S, LONGEST_WINDOW_S, Health, RouteKey

KEY = RouteKey("replica", "one")


def test_windows_double_up_to_the_longest() -> None:
    health, now_s, windows = Health(), 0.0, []
    for _ in range(7):
        health = health.failed(KEY, now_s)
        window_s = health.marks[KEY].until_s - now_s
        windows.append(window_s)
        now_s += window_s
        assert not health.ejected(KEY, now_s), "the window ends by itself"
    assert windows == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_calls_that_fail_together_are_one_failure() -> None:
    once = Health().failed(KEY, 0.0)
    assert once.failed(KEY, 0.2) is once


def test_an_answer_clears_the_name() -> None:
    health = Health().failed(KEY, 0.0).failed(KEY, 1.0).answered(KEY)
    assert not health.ejected(KEY, 1.1)
    assert health.failed(KEY, 2.0).marks[KEY].until_s == 2.5
    assert health.answered(KEY) is health


def test_old_marks_are_forgotten() -> None:
    health = Health().failed(KEY, 0.0)
    later = 0.5 + FORGOTTEN_AFTER_S
    assert health.failed(RouteKey("other", "one"), later).marks.keys() == {RouteKey("other", "one")}


@given(st.lists(st.floats(0, 100), max_size=30))
def test_an_ejection_never_outlasts_the_longest_window(gaps_s: list[float]) -> None:
    health, now_s = Health(), 0.0
    for gap_s in gaps_s:
        now_s += gap_s
        health = health.failed(KEY, now_s)
        assert health.ejected(KEY, now_s)
        assert not health.ejected(KEY, now_s + LONGEST_WINDOW_S)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 40)), max_size=60))
def test_retries_stay_inside_the_budget(steps: list[tuple[float, int]]) -> None:
    """However calls and retries fall: no more retries than the burst, a share of the calls and a few a second."""
    budget, now_s, taken = RetryBudget(0.0), 0.0, 0
    for calls, (gap_s, wanted) in enumerate(steps, start=1):
        now_s += gap_s
        budget.offered(now_s)
        taken += sum(budget.take() for _ in range(wanted))
        assert taken <= BURST + SHARE_OF_CALLS * calls + PER_S * now_s + 1e-6


def test_a_spent_budget_refuses_and_earns_again() -> None:
    budget = RetryBudget(0.0)
    assert sum(budget.take() for _ in range(1000)) == BURST
    budget.offered(1.0)
    assert sum(budget.take() for _ in range(1000)) == PER_S


def test_demand_is_drained_whole_and_starts_anew() -> None:
    counter = DemandCounter(10.0)
    digits, words = ServiceKey("default", "digits"), ServiceKey("plant-7", "words")
    for service, zone, request_bytes, response_bytes, failed in (
        (digits, "a", 100, 10, False),
        (digits, "a", 100, 0, True),
        (digits, "b", 5, 5, False),
        (words, "a", 1, 2, False),
    ):
        counter.offered(service, zone, request_bytes)
        counter.ended(service, zone, response_bytes, failed)
    assert counter.drain(10.5) == [
        Demand("default", "digits", "a", 2, 1, 200, 10, 500),
        Demand("default", "digits", "b", 1, 0, 5, 5, 500),
        Demand("plant-7", "words", "a", 1, 0, 1, 2, 500),
    ]
    assert counter.drain(11.0) == []
