"""Every decision of `place` passes an audit that was written apart from it."""

from dataclasses import replace

from hypothesis import assume, event, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from orchestrator.model.snapshot import PlacementSettings, Snapshot
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
