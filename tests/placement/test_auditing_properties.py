"""Every decision of `place` passes an audit that was written apart from it."""

from dataclasses import replace

from hypothesis import assume, event, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from orchestrator.model.snapshot import PlacementSettings, ShadowPrice, Snapshot
from orchestrator.placement import place
from orchestrator.placement.auditing import audit
from tests.strategies import settings_of_planner, snapshots

# A policy that keeps a service apart from itself: nothing is wrong with the placement.
_ITSELF = "affinity.anti_affinity"
SOME = tried(max_examples=40, deadline=None)


@SOME
@given(snapshots(), settings_of_planner)
def test_every_decision_passes_the_audit(snapshot: Snapshot, settings: PlacementSettings) -> None:
    decision = place(snapshot, settings, 0)
    found = audit(snapshot, settings, decision)
    event(f"frozen {any(service.freeze for service in snapshot.services)}")
    assert [str(violation) for violation in found.violations] == []


@SOME
@given(snapshots(), settings_of_planner, st.data())
def test_no_decision_passes_without_a_part_of_it(
    snapshot: Snapshot, settings: PlacementSettings, data: st.DataObject
) -> None:
    """Calls, sites and shortfalls that a decision speaks of are missed when they are not in it any more."""
    decision = place(snapshot, settings, 0)
    parts = [
        (at, name, index)
        for at, decided in enumerate(decision.services)
        for name in ("chosen", "shares", "refused", "unserved", "shortfalls")
        for index, one in enumerate(getattr(decided, name))
        if getattr(one, "share", 1) > 0 and getattr(one, "rule", "") not in ("replicas.survive_site_losses", _ITSELF)
    ]
    assume(parts)
    at, name, index = data.draw(st.sampled_from(parts))
    event(name)
    decided = decision.services[at]
    left = tuple(one for other, one in enumerate(getattr(decided, name)) if other != index)
    services = [replace(one, **{name: left}) if one is decided else one for one in decision.services]
    assert audit(snapshot, settings, replace(decision, services=tuple(services))).violations


def _constraints(snapshot: Snapshot) -> list[tuple[str, ...]]:
    """All that a price may be of."""
    found: set[tuple[str, ...]] = set()
    for one in snapshot.services:
        found |= {("demand", str(one.ref), demand.zone) for demand in one.demands}
        found |= {(rule, str(one.ref)) for rule in ("replicas.min", "replicas.max", "cost.max_usd_per_hour")}
        found |= {("replicas.max_share_per_domain", str(one.ref), site.failure_domain) for site in snapshot.sites}
    for site in snapshot.sites:
        nodes = [node.name for node in site.nodes] or [""]
        found |= {(kind, site.name, node) for kind in ("memory", "compute") for node in nodes}
        found |= {("in", site.name), ("out", site.name)}
    for path in snapshot.paths:
        found.add(("wan", path.zone))
        for leg in path.legs:
            found |= {("leg", leg.source, leg.target, way) for way in ("request", "response")}
            found |= {("front", end) for end in (leg.source, leg.target) if end.startswith("front/")}
    for quota in snapshot.quotas:
        found |= {(kind, f"{quota.namespace}/{quota.name}") for kind in ("quota.memory", "quota.compute")}
    return sorted(found)


@tried(max_examples=80, deadline=None)
@given(snapshots(), settings_of_planner, st.data())
def test_any_prices_prove_no_more_than_the_decision_costs(
    snapshot: Snapshot, settings: PlacementSettings, data: st.DataObject
) -> None:
    decision = place(snapshot, settings, 0)
    constraints = _constraints(snapshot)
    assume(constraints)
    usd = st.one_of(st.floats(0, 10), st.floats(0, 0.01))
    drawn = data.draw(st.dictionaries(st.sampled_from(constraints), usd, max_size=8))
    factor = data.draw(st.sampled_from((0.0, 0.5, 1.0, 2.0)))
    prices = {(price.constraint, price.priority): price.usd_per_hour * factor for price in decision.prices}
    for priority in {service.policy.priority for service in snapshot.services}:
        prices |= {(constraint, priority): usd for constraint, usd in drawn.items()}
    priced = tuple(ShadowPrice(what, usd, "", priority) for (what, priority), usd in prices.items())
    found = audit(snapshot, settings, replace(decision, prices=priced))
    event(f"proves something: {found.proven_usd_per_hour > 0}")
    assert [str(violation) for violation in found.violations] == []
