"""How much of the WAN artifacts take."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.edge.budget import BURST_S, Buckets

BPS = 8_000_000  # a megabyte a second


def test_bytes_are_paid_for_before_they_come() -> None:
    buckets = Buckets()
    assert buckets.take(500_000, BPS, 10.0) == pytest.approx(0.5)
    assert buckets.take(500_000, BPS, 10.5) == pytest.approx(0.5)
    assert buckets.take(500_000, BPS, 10.5) == pytest.approx(1.0)


def test_little_of_an_unused_budget_is_kept() -> None:
    buckets = Buckets()
    buckets.take(1, BPS, 0.0)
    assert buckets.take(int(BURST_S * BPS / 8), BPS, 3600.0) == 0.0
    assert buckets.take(500_000, BPS, 3600.0) == pytest.approx(0.5)


def test_without_a_limit_nothing_waits_and_it_counts_against_the_others() -> None:
    buckets = Buckets()
    buckets.take(0, BPS, 0.0)
    assert buckets.take(1_000_000, 0, 0.0) == 0.0
    assert buckets.take(0, BPS, 0.0) == pytest.approx(1.0)


def test_each_keeps_to_its_own_limit() -> None:
    buckets = Buckets()
    buckets.take(0, BPS, 0.0)
    assert buckets.take(1_000_000, 2 * BPS, 0.0) == pytest.approx(0.5)
    assert buckets.take(0, BPS, 0.0) == pytest.approx(1.0)


@given(st.lists(st.tuples(st.integers(0, 1_000_000), st.floats(0, 5)), min_size=1, max_size=30))
def test_whatever_is_asked_for_the_average_is_kept(asks: list[tuple[int, float]]) -> None:
    buckets, now_s, taken = Buckets(), 100.0, 0
    for size_bytes, pause_s in asks:
        now_s += pause_s + buckets.take(size_bytes, BPS, now_s + pause_s)
        taken += size_bytes
        assert taken * 8 <= BPS * (now_s - 100.0 + BURST_S) * (1 + 1e-9) + 1e-6


async def test_an_event_loop_waits_so_long() -> None:
    from workers.edge.budget import Budget

    budget, loop = Budget(), asyncio.get_running_loop()
    began_s = loop.time()
    for _ in range(4):
        await budget.take(10_000, BPS)
    assert loop.time() - began_s >= 0.039
