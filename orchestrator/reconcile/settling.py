"""Damping: a change is made when it was proposed for long enough, not at the first noisy sample."""

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan that differs from the running one, and since when it has been proposed without a break."""

    key: Hashable
    since_s: float


def settle(
    running: Hashable | None, proposed: Hashable, pending: Proposal | None, now_s: float, settle_s: float
) -> tuple[bool, Proposal | None]:
    """Whether to commit `proposed` now, and what to remember. The first plan of all is committed at once."""
    if running is None or settle_s <= 0:
        return proposed != running, None
    if proposed == running:
        return False, None
    if pending is None or pending.key != proposed:
        return False, Proposal(proposed, now_s)
    if now_s - pending.since_s >= settle_s:
        return True, None
    return False, pending
