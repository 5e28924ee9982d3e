"""An independent check of a whole decision: is every rule kept, or named where it is not, and what does it cost?

Written apart from the planner: of it this shares the words of orchestrator/model and nothing else.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.model.ids import ServiceRef
from orchestrator.model.snapshot import Costs, Decision, PlacementSettings, Snapshot
from orchestrator.placement.audits.bounding import check_bound
from orchestrator.placement.audits.case import Scene, Violation, scene_of
from orchestrator.placement.audits.costing import check_costs, costs_by_service, objective_usd_per_hour
from orchestrator.placement.audits.formulas import HOUR_S
from orchestrator.placement.audits.losses import check_losses
from orchestrator.placement.audits.policies import check_policies
from orchestrator.placement.audits.room import check_room
from orchestrator.placement.audits.saying import check_sayings
from orchestrator.placement.audits.traffic import check_traffic

__all__ = ["Audit", "Violation", "audit"]


@dataclass(frozen=True, slots=True)
class Audit:
    """`violations`: none, and the decision keeps every rule or says which it cannot keep. Costs are added up anew."""

    violations: tuple[Violation, ...]
    costs: Mapping[ServiceRef, Costs]
    unserved_value: float  # of the value of all calls, the part that nobody serves
    objective_usd_per_hour: float  # what is minimised, but for what preferences ask
    proven_usd_per_hour: float  # that no plan is below, by the decision's prices

    @property
    def usd_per_hour(self) -> float:
        """All terms of all services."""
        return math.fsum(costs.total for costs in self.costs.values())


def audit(snapshot: Snapshot, settings: PlacementSettings, decision: Decision) -> Audit:
    """Looks at what `place` answered, without services that were carried on. Never raises for what a decision says."""
    scene = scene_of(snapshot, settings, decision)
    check_traffic(scene)
    check_room(scene)
    check_policies(scene)
    check_losses(scene)
    check_sayings(scene)
    costs = costs_by_service(scene)
    check_costs(scene, decision, costs)
    objective = objective_usd_per_hour(scene)
    proven = check_bound(scene, decision, objective)
    return Audit(tuple(scene.found), costs, _unserved_value(scene, costs), objective, proven)


def _unserved_value(scene: Scene, costs: Mapping[ServiceRef, Costs]) -> float:
    value = math.fsum(
        demand.rate_rps * HOUR_S * case.spec.policy.usd_per_unserved_call
        for case in scene.cases.values()
        for demand in case.spec.demands
    )
    return math.fsum(one.unserved for one in costs.values()) / value if value > 0 else 0.0
