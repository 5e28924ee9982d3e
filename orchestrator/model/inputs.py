"""All that a decision is made of: who has it can make the decision again."""

from dataclasses import dataclass

from orchestrator.model.snapshot import PlacementSettings, ServiceDecision, Snapshot

FIRST_PLANNER = "0.1.0"  # of decisions stored before their planner was: no labels of sites were kept for them


@dataclass(frozen=True, slots=True)
class DecisionInputs:
    """`planner` names the code that decided: with the same on the same architecture the answer is the same to the bit.

    `carried` are the parts of services that could not be judged then: they went on as they were decided before.
    `base`, of a large fleet, is what the last plan of all was made of: the decision goes on from that plan, and only
    what differs is planned anew. None: this is a plan of all.
    """

    snapshot: Snapshot
    settings: PlacementSettings
    seed: int
    planner: str
    carried: tuple[ServiceDecision, ...] = ()
    base: Snapshot | None = None
