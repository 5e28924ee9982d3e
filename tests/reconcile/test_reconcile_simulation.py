"""A fleet whose links queue under its own calls comes to rest, and a link that comes and goes does not make it flap."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model.legs import Leg
from orchestrator.reconcile.flapping import MOST_REVERSALS
from orchestrator.reconcile.sharing import SHARE_PER_S
from tests.reconcile.simulated_fleet import NO_LIMIT, TICK_S, Link, SimulatedFleet

pytestmark = pytest.mark.slow  # half a minute of plans

HOUR_S = 3_600.0
# The nearest link takes all calls at 0.8 of its throughput: its p99 is then far above that of the next one.
NARROW = {"edge-a": Link(10), "edge-b": Link(14), "edge-c": Link(30)}
WIDE = {name: replace(link, bps=400e6) for name, link in NARROW.items()}


class OldProbers(SimulatedFleet):
    """They do not say what the quickest round trips took."""

    def _leg(self, site: str) -> Leg:
        return replace(super()._leg(site), rtt_p05_ms=None)


def perturbed(fleet: SimulatedFleet) -> SimulatedFleet:
    """The near links are slow for a minute: the calls begin at the farthest site."""
    fleet.slower_ms = lambda site, now_s: 40.0 if now_s < 60 and site != "edge-c" else 0.0
    return fleet


def test_a_perturbed_fleet_comes_to_rest_within_three_minutes() -> None:
    fleet = perturbed(SimulatedFleet(NARROW))
    fleet.run_for(900)
    assert fleet.shares[30][1] == {"edge-c": 1.0}
    assert fleet.shares[-1][1] == {"edge-a": 1.0}
    assert len(fleet.moves_s) == 1
    assert fleet.largest_change(since_s=180) == 0


def test_undamped_it_never_does() -> None:
    fleet = perturbed(SimulatedFleet(NARROW, damped=False))
    fleet.run_for(300)
    assert len(fleet.moves_s) > 20
    assert fleet.largest_change(since_s=180) == 1.0


def test_without_the_unloaded_round_trip_the_hold_ends_it() -> None:
    fleet = OldProbers(NARROW)
    fleet.run_for(2 * HOUR_S)
    assert fleet.flapping_s
    assert fleet.moves_within(0, HOUR_S) <= 2 * MOST_REVERSALS
    assert fleet.moves_within(HOUR_S, 2 * HOUR_S) <= 1  # each hold in a row asks for twice as much quiet


def test_calls_move_by_steps_and_no_site_is_emptied_before_they_left() -> None:
    fleet = perturbed(SimulatedFleet(NARROW))
    fleet.run_for(180)
    steps = [shares for _, shares in fleet.shares if len(shares) > 1]
    assert len(steps) == round(1 / SHARE_PER_S / TICK_S) - 1
    assert fleet.largest_change(since_s=10) <= SHARE_PER_S * TICK_S + 1e-9


def square_wave(
    period_s: float, damped: bool, limit_ms: float | None = None, lasting_s: float = HOUR_S
) -> SimulatedFleet:
    """The nearest link is 40 ms slower every other `period_s`."""
    fleet = SimulatedFleet(WIDE, policy=replace(NO_LIMIT, latency_p99_ms=limit_ms), damped=damped)
    fleet.slower_ms = lambda site, now_s: 40.0 if site == "edge-a" and int(now_s // period_s) % 2 else 0.0
    fleet.run_for(lasting_s)
    return fleet


@pytest.mark.parametrize(
    ("period_s", "limit_ms"), [(5, 25.0), (45, None), (70, 25.0), (120, None), (300, 25.0), (600, None)]
)
def test_a_square_wave_moves_a_service_five_times_an_hour_at_most(period_s: float, limit_ms: float | None) -> None:
    fleet = square_wave(period_s, damped=True, limit_ms=limit_ms)
    assert len(fleet.moves_s) <= MOST_REVERSALS + 2
    assert fleet.broken_s <= 3.0  # a limit is never broken for longer than a change takes to settle
    if period_s >= 70:
        # Shorter ones are over before a gain has settled; these come back until they are held, and are shown.
        assert fleet.flapping_s
        assert fleet.moves_within(fleet.flapping_s[0] + period_s, HOUR_S) <= 1


@pytest.mark.parametrize("period_s", [45, 120])
def test_undamped_it_follows_every_wave(period_s: float) -> None:
    assert len(square_wave(period_s, damped=False, lasting_s=900).moves_s) >= 900 / period_s - 1


def test_a_link_that_stays_better_ends_the_hold() -> None:
    fleet = square_wave(120, damped=True)
    held_at, when = fleet.shares[-1][1], fleet.now_s
    fleet.slower_ms = lambda site, now_s: 40.0 if site == "edge-a" and "edge-a" in held_at else 0.0
    fleet.run_for(HOUR_S)
    assert fleet.moves_within(when, when + HOUR_S) == 1
    assert fleet.shares[-1][1] != held_at


links = st.builds(Link, st.floats(2, 40), st.sampled_from([36e6, 40e6, 80e6, 400e6]))


@settings(max_examples=8, deadline=None)
@given(
    fleet=st.lists(links, min_size=2, max_size=4),
    slow=st.dictionaries(st.integers(0, 3), st.floats(5, 60), max_size=3),
    limit_ms=st.none() | st.floats(20, 60),
)
def test_any_fleet_comes_to_rest_or_is_held(fleet: list[Link], slow: dict[int, float], limit_ms: float | None) -> None:
    """Whatever its links are and wherever its calls begin; a limit that only our own queue breaks is the exception."""
    named = {f"edge-{number}": link for number, link in enumerate(fleet)}
    found = SimulatedFleet(named, policy=replace(NO_LIMIT, latency_p99_ms=limit_ms))
    found.slower_ms = lambda site, now_s: slow.get(int(site[-1]), 0.0) if now_s < 90 else 0.0
    found.run_for(600)
    assert all(abs(sum(shares.values()) - 1) < 1e-9 for _, shares in found.shares if shares)
    assert found.broken_s <= 3.0
    if limit_ms is None:
        assert found.largest_change(since_s=420) == 0 or found.flapping_s
