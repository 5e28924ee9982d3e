"""Decisions and their inputs as canonical JSON, for the store and for whoever asks."""

import hashlib
import json
import platform
from collections.abc import Sequence, Set
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from orchestrator import model, placement
from orchestrator.errors import Damaged
from orchestrator.model.ids import DecisionId
from orchestrator.model.inputs import DecisionInputs
from orchestrator.model.plan import Plan
from orchestrator.model.relaxation import Remedy
from orchestrator.model.snapshot import Decision, ServiceDecision, Snapshot
from orchestrator.model.stored import DecisionRecord, StoredDecision
from orchestrator.model.view import PlacementView

VERSION = "0.1.0"
_INPUTS = TypeAdapter(DecisionInputs)
_DECISION = TypeAdapter(Decision)


@lru_cache
def planner_version() -> str:
    """Of the code that decides: nobody has to remember to count it up."""
    digest = hashlib.sha256()
    for room in (model, placement):
        for path in sorted(Path(str(room.__file__)).parent.rglob("*.py")):
            digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return f"{VERSION}+{digest.hexdigest()[:8]} {platform.machine()}"


def to_json(value: Snapshot | Decision | ServiceDecision | DecisionInputs | Plan | PlacementView | Remedy) -> str:
    """Sorted keys, no spaces: the same value is the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    """Of what JSON does not know: dataclasses by field, and sets, which have no order. `asdict` copies all first."""
    if isinstance(value, Set):
        return sorted(value)
    names = _field_names(type(value))  # type: ignore[arg-type]  # mypy holds that classes cannot be hashed
    return {name: getattr(value, name) for name in names}


# A decision of a large fleet holds a quarter of a million values of a dozen types.
@lru_cache
def _field_names(of: type) -> tuple[str, ...]:
    """Raises TypeError for what is no dataclass."""
    return tuple(sorted(field.name for field in fields(of)))


def inputs_from(text: str) -> DecisionInputs:
    """Raises Damaged for what this release cannot read."""
    try:
        return _INPUTS.validate_json(text)
    except ValidationError as err:
        raise _unreadable("inputs", err) from err


def decision_from(text: str) -> Decision:
    """Raises Damaged for what this release cannot read."""
    try:
        return _DECISION.validate_json(text)
    except ValidationError as err:
        raise _unreadable("decision", err) from err


def _unreadable(what: str, err: ValidationError) -> Damaged:
    first = err.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    remedy = "another release stored it: read it with that one"
    return Damaged(f"stored {what}: {where}: {first['msg']}: {remedy}")


def stored_decision(
    inputs: DecisionInputs, decision: Decision, changes: Sequence[str], epoch: int, made_wall_s: float
) -> StoredDecision:
    inputs_json, decision_json = to_json(inputs), to_json(decision)
    digest = hashlib.sha256(f"{inputs_json}\n{decision_json}".encode()).hexdigest()
    record = DecisionRecord(
        id=DecisionId(f"d-{digest[:16]}"),
        epoch=epoch,
        made_wall_s=made_wall_s,
        services=len(decision.services),
        usd_per_hour=decision.usd_per_hour,
        changes=tuple(changes),
    )
    return StoredDecision(record, inputs_json, decision_json)
