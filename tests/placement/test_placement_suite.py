"""The second suite: instances that are the same each time, hold what they should, and are placed without violations."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.placement.suite.events import events, moves, settled
from benchmarks.placement.suite.instances import SETTINGS, instance
from benchmarks.placement.suite.places import SIZES
from benchmarks.placement.suite.usual import Way, usual
from orchestrator.model.legs import PathKind
from orchestrator.model.specs import PolicySpec
from orchestrator.placement import place
from orchestrator.placement.auditing import audit

pytestmark = pytest.mark.slow  # half a minute of plans


@pytest.mark.parametrize("size", ["tiny", "small", "medium"])
def test_a_seed_says_all(size: str) -> None:
    once = instance(size, 3)
    assert once == instance(size, 3)
    assert once != instance(size, 4)
    assert (len(once.sites), len(once.services)) == (SIZES[size].sites, SIZES[size].services)
    assert {path.kind for path in once.paths} == set(PathKind)


USED: dict[str, Callable[[PolicySpec], object]] = {
    "N+1": lambda p: p.survive_site_losses,
    "failure domains": lambda p: p.min_failure_domains > 1,
    "share per domain": lambda p: p.max_share_per_domain < 1,
    "pins": lambda p: p.pins,
    "bans": lambda p: p.bans,
    "anti-affinity": lambda p: p.anti_affinity,
    "jurisdictions": lambda p: p.jurisdictions,
    "accuracy": lambda p: p.accuracy_min,
    "cost cap": lambda p: p.max_usd_per_hour,
    "WAN cap": lambda p: p.wan_bps_per_zone,
    "no bursts": lambda p: not p.burst_to_cloud,
    "priority": lambda p: p.priority,
    "start": lambda p: p.usd_per_start,
    "rollout": lambda p: p.rollout_bps_per_site and p.max_concurrent_changes is None,
}


@pytest.mark.parametrize("name", USED)
def test_a_small_instance_has_every_field(name: str) -> None:
    policies = [service.policy for service in instance("small", 0).services]
    assert any(USED[name](policy) for policy in policies)
    assert not all(USED[name](policy) for policy in policies)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", ["tiny", "small"])
def test_every_way_passes_the_audit(size: str, seed: int) -> None:
    snapshot = instance(size, seed)
    for decision in (*(usual(snapshot, SETTINGS, way) for way in Way), place(snapshot, SETTINGS, 0)):
        assert [str(violation) for violation in audit(snapshot, SETTINGS, decision).violations] == []


def test_a_settled_fleet_moves_for_an_event_and_for_nothing_else() -> None:
    start = settled(instance("small", 0), 0)
    nothing, *_, more = events(start, np.random.Generator(np.random.PCG64(0)))
    assert moves(nothing, place(nothing.after, SETTINGS, 0)) == (0, 0, 0)
    assert moves(more, place(more.after, SETTINGS, 0)) == (2, 0, 0)
    assert moves(replace(more, touched=frozenset()), place(more.after, SETTINGS, 0)) == (2, 0, 2)
