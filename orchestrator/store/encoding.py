"""Values to rows and back. JSON text is canonical, so that equal values have equal text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import TypeAdapter
from sqlalchemy import RowMapping

from orchestrator.errors import InvalidRequest
from orchestrator.model.claims import Claim
from orchestrator.model.ids import DecisionId
from orchestrator.model.stored import Change, ChangeType, DecisionRecord, Json, Key, Owner, StoredObject

_CLAIM: TypeAdapter[Claim] = TypeAdapter(Claim)
_NAME_LIMIT = 253  # as in Kubernetes: the longest DNS name


def canonical_json(field: str, value: Mapping[str, Json]) -> str:
    """Raises InvalidRequest for what JSON cannot say (NaN, infinity, other types)."""
    try:
        return json.dumps(dict(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as err:
        raise InvalidRequest(field, value, f"give finite JSON values ({err})") from err


def is_key(key: Key) -> bool:
    """Whether every database can hold its names."""
    return _wrong_part(key) is None


def checked_key(key: Key) -> Key:
    """Raises InvalidRequest for names that not every database can hold."""
    if wrong := _wrong_part(key):
        raise InvalidRequest(*wrong, f"give 1 to {_NAME_LIMIT} printable characters")
    return key


def _wrong_part(key: Key) -> tuple[str, str] | None:
    for field, value in (("kind", key.kind), ("metadata.namespace", key.namespace), ("metadata.name", key.name)):
        if not value.isprintable() or len(value) > _NAME_LIMIT or (not value and field != "metadata.namespace"):
            return field, value
    return None


@dataclass(frozen=True, slots=True)
class ObjectText:
    """The three parts of an object that a write may replace, as JSON text."""

    labels: str = "{}"
    spec: str = "{}"
    status: str = "{}"


def with_text(stored: StoredObject, text: ObjectText) -> StoredObject:
    """The object with `text` for its parts."""
    labels, spec, status = (json.loads(part) for part in (text.labels, text.spec, text.status))
    return replace(stored, labels=labels, spec=spec, status=status)


def object_row(stored: StoredObject, text: ObjectText) -> dict[str, object]:
    return {
        "kind": stored.key.kind,
        "namespace": stored.key.namespace,
        "name": stored.key.name,
        "uid": stored.uid,
        "revision": stored.revision,
        "generation": stored.generation,
        "owner": stored.owner.value,
        "labels": text.labels,
        "spec": text.spec,
        "status": text.status,
        "created_wall_s": stored.created_wall_s,
    }


def object_of(row: RowMapping) -> StoredObject:
    return StoredObject(
        key=Key(row["kind"], row["namespace"], row["name"]),
        uid=row["uid"],
        revision=row["revision"],
        generation=row["generation"],
        owner=Owner(row["owner"]),
        labels=json.loads(row["labels"]),
        spec=json.loads(row["spec"]),
        status=json.loads(row["status"]),
        created_wall_s=row["created_wall_s"],
    )


def change_of(row: RowMapping) -> Change:
    return Change(row["sequence"], ChangeType(row["type"]), object_of(row))


def claim_row(claim: Claim) -> dict[str, object]:
    return {
        "id": claim.id,
        "site": claim.site,
        "memory_bytes": claim.need.memory_bytes,
        "compute_millis": claim.need.compute_millis,
        "body": canonical_json(f"claim {claim.id}", _CLAIM.dump_python(claim, mode="json")),
    }


def claim_of(row: RowMapping) -> Claim:
    return _CLAIM.validate_json(row["body"])


def record_of(row: RowMapping) -> DecisionRecord:
    return DecisionRecord(
        id=DecisionId(row["id"]),
        epoch=row["epoch"],
        made_wall_s=row["made_wall_s"],
        services=row["services"],
        usd_per_hour=row["usd_per_hour"],
        changes=tuple(json.loads(row["changes"])),
    )
