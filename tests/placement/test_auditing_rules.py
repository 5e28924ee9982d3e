"""What the audit makes of losses, freezes, priorities and nodes: rules that take more than one look."""

from dataclasses import replace

import pytest

from orchestrator.model.claims import Claim
from orchestrator.model.ids import SiteName
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Decision, Snapshot
from orchestrator.model.specs import PolicySpec, ServiceSpec
from orchestrator.placement import place
from orchestrator.placement.auditing import audit
from orchestrator.placement.audits.room import Bin, Item, packs
from tests.placement.worlds import (
    MIB,
    POLICY,
    SETTINGS,
    claim,
    cloud,
    cloud_leg,
    edge,
    relay_leg,
    service,
    snapshot,
)


def broken(world: Snapshot, decision: Decision) -> list[str]:
    return [str(violation) for violation in audit(world, SETTINGS, decision).violations]


def asked(world: Snapshot, **changed: object) -> Snapshot:
    """The same world, under a policy that is another."""
    return replace(
        world,
        services=tuple(replace(s, policy=replace(s.policy, **changed)) for s in world.services),  # type: ignore[arg-type]
    )


def two_sites(policy: PolicySpec = POLICY, claims: tuple[Claim, ...] = (), **leg: object) -> Snapshot:
    legs = [relay_leg("mill", 4.0, **leg), relay_leg("quay", 6.0, **leg), cloud_leg(900.0)]
    sites = [edge("mill", price_usd_per_hour=0.1), edge("quay", price_usd_per_hour=0.1), cloud()]
    return snapshot(sites, legs, [service(policy)], claims)


def test_a_loss_that_the_others_cannot_bear_is_named() -> None:
    alone = two_sites()
    expected = "replicas.survive_site_losses: default/digits, loss of mill: zone callers has no other site"
    assert broken(asked(alone, survive_site_losses=1), place(alone, SETTINGS, 0)) == [f"{expected}, allowed one more"]
    both = two_sites(replace(POLICY, survive_site_losses=1))
    assert broken(both, place(both, SETTINGS, 0)) == []


def test_a_loss_leaves_too_few_replicas() -> None:
    spread = two_sites(replace(POLICY, min_failure_domains=2))
    busy = replace(spread, services=(service(spread.services[0].policy, rate_rps=1_100.0),))
    (violation,) = broken(asked(busy, survive_site_losses=1), place(busy, SETTINGS, 0))
    assert "loss of mill: 500 calls/s of zone callers find no place, allowed 1100 calls/s served" in violation


@pytest.mark.parametrize(("mbps", "valid"), [(0.35, True), (0.25, False)])
def test_a_loss_leaves_too_narrow_links(mbps: float, valid: bool) -> None:
    """100 calls/s of 400 bytes need 0.32 Mbit/s into quay on the day that mill is gone."""
    world = two_sites(replace(POLICY, survive_site_losses=1))
    decision = place(world, SETTINGS, 0)
    narrow = replace(
        world, sites=tuple(replace(s, link_in_bps=mbps * 1e6) if s.name == "quay" else s for s in world.sites)
    )
    assert (broken(narrow, decision) == []) is valid


def test_two_services_that_lose_the_same_site_share_what_is_left() -> None:
    """Each alone would find room on quay's link, both at once do not."""
    policy = replace(POLICY, survive_site_losses=1)
    world = two_sites(policy)
    both = replace(world, services=(service(policy), service(policy, name="words", version="words-1")))
    decision = place(both, SETTINGS, 0)
    wide, narrow = (
        replace(both, sites=tuple(replace(s, link_in_bps=bps) if s.name == "quay" else s for s in both.sites))
        for bps in (0.65e6, 0.6e6)
    )
    assert broken(wide, decision) == []
    assert sum("survive_site_losses" in violation for violation in broken(narrow, decision)) >= 1


def test_a_loss_that_the_decision_speaks_of_is_no_violation() -> None:
    world = two_sites(replace(POLICY, survive_site_losses=1, bans=frozenset({SiteName("quay")})))
    decision = place(world, SETTINGS, 0)
    assert decision.services[0].shortfalls
    assert broken(world, decision) == []


def frozen(world: Snapshot, freeze: str | None) -> Snapshot:
    return replace(world, services=tuple(replace(s, freeze=freeze) for s in world.services))


def test_a_freeze_keeps_site_and_number() -> None:
    wanted = service()
    world = two_sites(claims=(claim("quay", wanted), claim("quay", wanted, number=1)))
    moved = place(asked(world, min_gain=0.0), SETTINGS, 0)
    assert [one.site for one in moved.services[0].chosen] == ["mill"]
    assert any("stability.freeze: default/digits, site quay: 0" in v for v in broken(frozen(world, "always"), moved))
    stays = frozen(world, "always")
    assert broken(stays, place(stays, SETTINGS, 0)) == []
    banned = asked(stays, bans=frozenset({SiteName("quay")}))
    assert broken(banned, place(banned, SETTINGS, 0)) == []


def test_lower_priorities_make_way_and_equal_ones_do_not() -> None:
    """A site for one replica, where another service runs."""

    def world(priority: int) -> tuple[Snapshot, ServiceSpec]:
        runs = service(replace(POLICY, priority=priority), name="words", version="words-1")
        sites = [edge("mill", 64, 1, price_usd_per_hour=0.1)]
        return snapshot(sites, [relay_leg("mill", 4.0)], [service(), runs], [claim("mill", runs)]), runs

    lower, _ = world(-1)
    decision = place(lower, SETTINGS, 0)
    assert [bool(one.chosen) for one in decision.services] == [True, False]
    assert broken(lower, decision) == []
    equal, _ = world(0)
    assert any(violation.startswith("memory: default/digits, site mill") for violation in broken(equal, decision))


def sizes(*mib: int, beside: tuple[int, int] = (0, 0)) -> list[Item]:
    held = tuple(Resources(each * MIB) for each in beside)
    return [Item(Resources(each * MIB, 1), held) for each in mib]


def test_a_packing_that_rules_of_thumb_miss_is_found() -> None:
    """First fit puts both of 4 on one node of 10 and has no place for the last of 3."""
    nodes = [Bin(Resources(10 * MIB, 100)), Bin(Resources(10 * MIB, 100))]
    assert packs(sizes(4, 4, 3, 3, 3, 3), nodes)
    assert not packs(sizes(6, 6, 5, 3), nodes)
    assert not packs(sizes(11), nodes)
    assert packs([], nodes)


def test_each_replica_stands_beside_what_its_own_service_may_not_drive_out() -> None:
    """A claim of 5 on each node: the first replica may drive it out, the second may not, so they stand apart."""
    nodes = [Bin(Resources(10 * MIB, 100)), Bin(Resources(10 * MIB, 100))]
    lower = sizes(5, beside=(5, 5))
    assert packs(sizes(10) + lower, nodes)
    assert not packs(sizes(10, 1) + lower, nodes)
    assert packs(sizes(9, 1) + lower, nodes)
