"""Another version comes beside the old one where there is room, else in its place; a single writer is never two."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import Digest, NodeName, ReplicaId, SiteName, VersionRef
from orchestrator.model.phases import ClaimPhase, ReplicaPhase
from orchestrator.model.resources import Resources
from orchestrator.model.specs import NodeSpec, SiteSpec
from orchestrator.placement import place
from orchestrator.reconcile.planning import gaps, settled
from orchestrator.reconcile.replicas import DRAIN_S, replica_phases
from orchestrator.reconcile.updating import UpdateRules, rules_of, succeeded
from tests.placement.worlds import POLICY, SETTINGS, by_service, claim, edge, relay_leg, service, snapshot
from tests.reconcile.test_reconcile_replicas import DIGITS, EDGES, NEED, SITES, V1, V2, Fleet, want

A, B = EDGES[0], EDGES[1]


def with_room(replicas: int) -> dict[SiteName, SiteSpec]:
    """Sites whose node bears so many replicas, and half of another."""
    room = Resources(NEED.memory_bytes * replicas + NEED.memory_bytes // 2, 100_000)
    return {
        name: replace(site, nodes=tuple(NodeSpec(node.name, room) for node in site.nodes), capacity=room)
        if site.nodes
        else site
        for name, site in SITES.items()
    }


def ready(fleet: Fleet) -> int:
    """Of replicas that gateways are given."""
    phases = replica_phases(list(fleet.claims.values()), fleet.observed())
    live = [c for c in fleet.claims.values() if c.phase is not ClaimPhase.DRAINING]
    return sum(phases.get(c.id) is ReplicaPhase.READY for c in live)


def updated(fleet: Fleet, replicas: int, watch: Callable[[Fleet], None]) -> None:
    """From the first version to the second at one site, with holders that take a moment for everything."""
    fleet.settle([want(A, replicas)])
    for at in range(40 * replicas):
        fleet.step([want(A, replicas, V2)])
        watch(fleet)
        fleet.now_s += DRAIN_S / 2
        if at % 3 == 2:
            fleet.start_all()
    assert [c.hold.version for c in fleet.claims.values() if isinstance(c.hold, ReplicaHold)] == [V2] * replicas
    assert all(c.phase is ClaimPhase.BOUND for c in fleet.claims.values())
    assert fleet.step([want(A, replicas, V2)]) == []


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("spare", [1, 2, 3])
def test_with_room_for_one_more_no_replica_is_ever_missing(replicas: int, spare: int) -> None:
    fleet = Fleet(fleet=with_room(replicas + spare))

    def watch(fleet: Fleet) -> None:
        if spare >= replicas:
            assert ready(fleet) >= replicas
        assert ready(fleet) >= replicas - 1

    updated(fleet, replicas, watch)


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_without_room_one_makes_way_after_the_other(replicas: int) -> None:
    seen: list[int] = []
    updated(Fleet(fleet=with_room(replicas)), replicas, lambda fleet: seen.append(ready(fleet)))
    assert min(seen) == replicas - 1


def test_nothing_surges_when_the_policy_says_so_and_nothing_makes_way_when_it_says_that() -> None:
    most: list[int] = []
    rules = {DIGITS: UpdateRules(max_surge=0)}
    updated(Fleet(fleet=with_room(9), updates=rules), 2, lambda fleet: most.append(len(fleet.claims)))
    assert max(most) == 2
    fleet = Fleet(fleet=with_room(1), updates={DIGITS: UpdateRules(in_place=False)})
    fleet.settle([want(A, 1)])
    assert fleet.step([want(A, 1, V2)]) == []


def test_a_replica_that_drains_anyway_is_waited_for() -> None:
    fleet = Fleet(fleet=with_room(2))
    fleet.settle([want(A, 2)])
    first = min(fleet.claims)
    fleet.claims[first] = replace(fleet.claims[first], phase=ClaimPhase.DRAINING, since_s=fleet.now_s)
    assert fleet.step([want(A, 1, V2)]) == []


single = {DIGITS: UpdateRules(max_surge=0, single_writer=True)}
moves = st.lists(st.tuples(st.sampled_from(EDGES), st.sampled_from([V1, V2])), min_size=1, max_size=5)


@given(moves=moves, slow=st.integers(0, 4), room=st.integers(1, 3))
def test_a_single_writer_moves_and_changes_without_ever_being_two(
    moves: list[tuple[SiteName, VersionRef]], slow: int, room: int
) -> None:
    fleet = Fleet(fleet=with_room(room), updates=single)
    for site, version in moves:
        for at in range(30 + 10 * slow):
            fleet.step([want(site, 1, version)])
            assert len(fleet.claims) <= 1
            fleet.now_s += DRAIN_S / 2
            if at % (slow + 1) == slow:
                fleet.start_all()
        (held,) = fleet.claims.values()
        assert isinstance(held.hold, ReplicaHold)
        assert (held.site, held.hold.version, held.phase) == (site, version, ClaimPhase.BOUND)


def test_a_single_writer_stays_where_the_other_site_has_no_room() -> None:
    small = {B: replace(with_room(1)[B], nodes=(NodeSpec(NodeName("edge-b-node"), Resources()),))}
    fleet = Fleet(fleet=with_room(1) | small, updates=single)
    fleet.settle([want(A, 1)])
    assert fleet.step([want(B, 1)]) == []


# ---- what the planner sees


def test_where_both_do_not_fit_the_planner_sees_the_successor() -> None:
    wanted = service(name="digits", version="digits-2")
    old = claim("edge-a", wanted, version="digits-1")
    for memory_mib, seen in ((100, "digits-2"), (200, "digits-1")):
        site = edge("edge-a", memory_mib=memory_mib)
        (found,) = succeeded([old], [wanted], [site], frozenset())
        assert isinstance(found.hold, ReplicaHold)
        assert (found.id, found.hold.version.name) == (old.id, seen)
        decided = by_service(place(snapshot([site], [relay_leg("edge-a", 10)], [wanted], [found]), SETTINGS, 0))
        assert [c.site for c in decided["digits"].chosen] == ["edge-a"]
    cordoned = frozenset({NodeName("edge-a-0")})
    (found,) = succeeded([old], [wanted], [edge("edge-a", memory_mib=200)], cordoned)
    assert isinstance(found.hold, ReplicaHold)
    assert found.hold.version.name == "digits-2"


@given(room=st.integers(1, 600), held=st.integers(0, 6))
def test_no_node_is_ever_overfilled_by_successors(room: int, held: int) -> None:
    wanted = service(name="digits", version="digits-2")
    old = [claim("edge-a", wanted, version="digits-1", number=number) for number in range(held)]
    site = edge("edge-a", memory_mib=room)
    before = sum((one.need for one in old), Resources())
    after = sum((one.need for one in succeeded(old, [wanted], [site], frozenset())), Resources())
    assert after.fits_in(site.capacity) or not before.fits_in(site.capacity)


def test_a_policy_of_a_single_writer_surges_nowhere() -> None:
    assert rules_of(POLICY) == UpdateRules()
    assert rules_of(replace(POLICY, single_writer=True, max_surge=3)) == UpdateRules(True, 0, True)


# ---- what a plan says


@pytest.mark.parametrize(("room", "in_place"), [(1, True), (2, False)])
def test_a_plan_says_whether_an_update_is_in_place_and_for_how_long(room: int, in_place: bool) -> None:
    fleet = Fleet(fleet=with_room(room))
    fleet.settle([want(A, 1)])
    claims = list(fleet.claims.values())
    reached = settled([want(A, 1, V2)], claims, fleet.observed(), fleet.fleet, {}, 100.0)
    assert [c.hold.version for c in reached.claims if isinstance(c.hold, ReplicaHold)] == [V2]
    assert reached.in_place == ({(DIGITS, A)} if in_place else frozenset())
    sizes = {"sha256:digits-2": 5_000_000}
    found = gaps(reached.in_place, reached.claims, sizes, {A: 8e6})
    assert found == ({(DIGITS, A): pytest.approx(DRAIN_S + 1 + 5)} if in_place else {})


def test_one_claim_in_a_place_that_is_not_there_is_left_as_it_is() -> None:
    hold = ReplicaHold(DIGITS, V1, service().version.variants[0].variant, Digest("sha256:x"))
    lost = Claim(ReplicaId("r"), SiteName("gone"), NodeName("n"), NEED, ClaimPhase.BOUND, hold, None, 1, 0.0)
    assert succeeded([lost], [service(name="digits")], [], frozenset()) == (lost,)
