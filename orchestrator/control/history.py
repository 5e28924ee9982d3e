"""Stored decisions for operators: found, listed, made again."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches

from orchestrator.api.seams import KeptDecision, KeptDecisions, Replay
from orchestrator.control.codec import decision_from, to_json
from orchestrator.control.replaying import replay
from orchestrator.control.seams import Store
from orchestrator.errors import NotFound
from orchestrator.model.ids import DecisionId, ServiceRef
from orchestrator.model.stored import DecisionRecord, Json, Retention, StoredDecision
from orchestrator.reconcile.planning import chosen, effect

# Each takes a core and a snapshot's memory; the loops' threads stay free for the store.
REPLAYS = ThreadPoolExecutor(2, "replaying")
MAX_DIFFERENCES = 20
NEAREST = 3


def find(store: Store, retention: Retention, id: DecisionId) -> StoredDecision:
    """Raises NotFound, which says what is kept; Damaged."""
    try:
        return store.decision(id)
    except NotFound as err:
        kept = store.decisions(retention.decisions)
        raise NotFound(f"decision {id}: is not stored: kept are {retention}; {_nearest(id, kept)}") from err


def _nearest(id: DecisionId, kept: list[DecisionRecord]) -> str:
    """A misspelt one, else the oldest: what was pruned came before them."""
    if not kept:
        return "none was made yet"
    close = get_close_matches(id, [one.id for one in kept], NEAREST, 0.8)
    oldest = [one.id for one in reversed(kept[-NEAREST:])]
    what = f"nearest by name: {', '.join(close)}" if close else f"the oldest kept: {', '.join(oldest)}"
    return f"{what}; list them with `skerry get decisions`"


def listed(store: Store, retention: Retention, limit: int, wall_s: float) -> KeptDecisions:
    records = store.decisions(limit)
    kept = [KeptDecision(one, max(0.0, wall_s - one.made_wall_s), at == 0) for at, one in enumerate(records)]
    return KeptDecisions(tuple(kept), str(retention))


def shown(store: Store, retention: Retention, id: DecisionId, wall_s: float) -> KeptDecisions:
    """One, with its texts. Raises NotFound, Damaged."""
    stored = find(store, retention, id)
    newest = store.decisions(1)
    in_force = bool(newest) and newest[0].id == id
    age_s = max(0.0, wall_s - stored.record.made_wall_s)
    kept = KeptDecision(stored.record, age_s, in_force, stored.inputs_json, stored.decision_json)
    return KeptDecisions((kept,), str(retention))


async def replayed(
    store: Store, retention: Retention, id: DecisionId, policy: dict[str, Json] | None, wall_s: float
) -> Replay:
    """Made again from its stored inputs in another process, and only then compared with what was stored.

    Raises NotFound, Damaged, InvalidRequest for the policy, Unavailable when it takes too long.
    """
    stored = await asyncio.to_thread(find, store, retention, id)
    again = await asyncio.get_running_loop().run_in_executor(
        REPLAYS, replay, stored.inputs_json, stored.record.made_wall_s, policy
    )
    before, after = decision_from(stored.decision_json), decision_from(again.decision_json)
    limits_ms = {ServiceRef(namespace, name): limit for namespace, name, limit in again.limits_ms}
    plan = effect(before, after, chosen(before), chosen(after), limits_ms, id)
    # Values, not texts: a whole number in a field of fractions is written 0 by the planner and 0.0 once it was read.
    found = tuple(differences(json.loads(stored.decision_json), json.loads(again.decision_json)))
    return Replay(
        decision=id,
        age_s=max(0.0, wall_s - stored.record.made_wall_s),
        equal=not found,
        differences=found,
        decided_by=str(json.loads(stored.inputs_json)["planner"]),
        replayed_by=again.planner,
        plan_json=to_json(plan),
        decision_json=again.decision_json,
    )


def differences(stored: Json, again: Json) -> Iterator[str]:
    """A line for each value that is not the same, the first ones only."""
    found = _differing(stored, again, "")
    for _, line in zip(range(MAX_DIFFERENCES), found, strict=False):
        yield line
    if more := sum(1 for _ in found):
        yield f"and {more} more"


def _differing(stored: Json, again: Json, path: str) -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(again, dict):
        for key in sorted(stored.keys() | again.keys()):
            yield from _differing(stored.get(key), again.get(key), f"{path}.{key}" if path else key)
    elif isinstance(stored, list) and isinstance(again, list) and len(stored) == len(again):
        for at, (one, other) in enumerate(zip(stored, again, strict=True)):
            yield from _differing(one, other, f"{path}[{at}]")
    elif stored != again:
        yield f"{path}: stored {_short(stored)}, replayed {_short(again)}"


def _short(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
