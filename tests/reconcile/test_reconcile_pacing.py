"""How fast a decision is carried out: starts at once, and bytes on a site's link."""

import pytest

from orchestrator.model.phases import ClaimPhase
from orchestrator.reconcile.pacing import Pace
from tests.reconcile.test_reconcile_replicas import DIGITS, EDGES, REGION, V1, V2, Fleet, want

A, B, C = EDGES
SIZES = {f"sha256:{V1.name}": 1_000_000, f"sha256:{V2.name}": 1_000_000}


@pytest.mark.parametrize("site", [A, REGION])
def test_no_more_start_at_once_than_the_policy_says_and_all_do_in_the_end(site: str) -> None:
    fleet = Fleet(paces={DIGITS: Pace(2, None, 60.0)})
    wanted = [want(site, 5)]  # type: ignore[arg-type]
    for expected in (2, 4, 5):
        fleet.step(wanted)
        assert len(fleet.claims) == expected
        fleet.start_all()
    unlimited = Fleet()
    unlimited.step(wanted)
    assert len(unlimited.claims) == 5


def test_what_does_not_come_up_holds_the_rest_back() -> None:
    fleet = Fleet(paces={DIGITS: Pace(1, None, 60.0)})
    for _ in range(5):
        fleet.step([want(A, 3)])
        fleet.now_s += 1
    assert len(fleet.claims) == 1


def test_a_predecessor_stays_until_the_last_of_the_paced_successors_serves() -> None:
    fleet = Fleet(paces={DIGITS: Pace(1, None, 60.0)})
    fleet.settle([want(A, 2)])
    wanted = [want(B, 2, V2)]
    fleet.step(wanted)
    assert fleet.sites() == [A, A, B]
    fleet.start_all()
    fleet.step(wanted)
    assert fleet.sites() == [A, A, B, B]
    fleet.start_all()
    fleet.settle(wanted)
    assert fleet.sites() == [B, B]


def test_bytes_on_a_sites_link_are_spread_over_windows() -> None:
    """1 MB each; 0.2 Mbit/s over 60 s are 1.5 MB: one artifact a window and site. What a site has, it has."""
    fleet = Fleet(paces={DIGITS: Pace(None, 0.2e6, 60.0)}, sizes=SIZES)
    first, both = [want(A, 2)], [want(A, 2), want(A, 1, V2), want(B, 1, V2)]
    fleet.step(first)
    assert fleet.sites() == [A, A]  # the second replica downloads nothing
    fleet.step(both)
    assert fleet.sites() == [A, A, B]  # another site has another link
    fleet.now_s = 59.0
    assert not [c for c in fleet.step(both) if c.site == A and c.phase is ClaimPhase.RESERVED]
    fleet.now_s = 60.0
    fleet.step(both)
    assert fleet.sites() == [A, A, A, B]


def test_an_artifact_larger_than_the_window_starts_alone() -> None:
    fleet = Fleet(paces={DIGITS: Pace(None, 8.0, 1.0)}, sizes=SIZES)
    fleet.step([want(A, 1), want(C, 1, V2)])
    assert fleet.sites() == [A, C]
