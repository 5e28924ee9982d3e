"""A decision from its inputs: the same whether it is made, planned or replayed."""

from dataclasses import dataclass, replace

from orchestrator.model.inputs import DecisionInputs
from orchestrator.model.snapshot import Decision
from orchestrator.placement.incremental import replanned
from orchestrator.placement.placing import place


@dataclass(frozen=True, slots=True)
class Decided:
    """`planned` is `decision` without the services that were only carried on; `in_full`: a plan of all."""

    decision: Decision
    planned: Decision
    in_full: bool


def decided(inputs: DecisionInputs, based: Decision | None = None) -> Decided:
    """What the planner answers, and beside it the services that it was not asked about.

    `based`: the plan of all of `inputs.base`, from whoever has it; else it is made again first.
    """
    now, settings, seed = inputs.snapshot, inputs.settings, inputs.seed
    if inputs.base is None:
        planned, in_full = place(now, settings, seed), True
    else:
        found = replanned(inputs.base, based or place(inputs.base, settings, seed), now, settings, seed)
        planned, in_full = found.decision, found.in_full
    return Decided(replace(planned, services=(*planned.services, *inputs.carried)), planned, in_full)


def decide(inputs: DecisionInputs, based: Decision | None = None) -> Decision:
    """See `decided`."""
    return decided(inputs, based).decision
