"""What might be changed so that somebody serves a demand: read off the reasons why each site was refused."""

from orchestrator.placement.options.lost import Effort, Lost, Option, lost_of
from orchestrator.placement.options.places import of_places
from orchestrator.placement.options.policies import of_policy

__all__ = ["Effort", "Lost", "Option", "lost_of", "options"]


def options(lost: Lost) -> list[Option]:
    """Cheapest first by an estimate; then what no refusal names, and last what the law must allow."""
    found = [option for option in (*of_policy(lost), *of_places(lost)) if option.figures]
    return sorted(
        found,
        key=lambda one: (
            one.effort is Effort.LAW,
            not one.likely,
            one.estimate_usd_per_hour,
            one.effort,
            one.field,
            one.object,
            one.said(one.figures[0]),
        ),
    )
