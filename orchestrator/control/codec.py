"""Decisions and their inputs as canonical JSON, for the store and for `explain`."""

import hashlib
import json
from dataclasses import asdict

from pydantic import TypeAdapter

from orchestrator.model.ids import DecisionId
from orchestrator.model.snapshot import Decision, ServiceDecision, Snapshot
from orchestrator.model.stored import StoredDecision

_SNAPSHOT = TypeAdapter(Snapshot)
_DECISION = TypeAdapter(Decision)


def to_json(value: Snapshot | Decision | ServiceDecision) -> str:
    """Sorted keys, no spaces: the same value is the same text."""
    return json.dumps(asdict(value), sort_keys=True, separators=(",", ":"), default=sorted)  # sets have no order


def snapshot_from(text: str) -> Snapshot:
    return _SNAPSHOT.validate_json(text)


def decision_from(text: str) -> Decision:
    return _DECISION.validate_json(text)


def stored_decision(snapshot: Snapshot, decision: Decision, epoch: int, made_wall_s: float) -> StoredDecision:
    snapshot_json, decision_json = to_json(snapshot), to_json(decision)
    digest = hashlib.sha256(f"{snapshot_json}\n{decision_json}".encode()).hexdigest()
    return StoredDecision(DecisionId(f"d-{digest[:16]}"), epoch, made_wall_s, snapshot_json, decision_json)
