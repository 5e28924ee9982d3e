"""A decision from its inputs: the same whether it is made, planned or replayed."""

from dataclasses import replace

from orchestrator.model.inputs import DecisionInputs
from orchestrator.model.snapshot import Decision
from orchestrator.placement.placing import place


def decide(inputs: DecisionInputs) -> Decision:
    """What `place` answers, and beside it the services that it was not asked about."""
    placed = place(inputs.snapshot, inputs.settings, inputs.seed)
    return replace(placed, services=(*placed.services, *inputs.carried))
