"""The smallest accepted document of each kind, to be changed by tests; and the fields of a form."""

from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel

from orchestrator.model.stored import Json, Key, Owner, StoredObject
from orchestrator.objects import API_VERSION, key_of, labels_of, spec_of, validate

DIGEST = "sha256:" + "0" * 64


def variant(name: str = "litert-fp32", **changed: Json) -> dict[str, Json]:
    made_of = "savedmodel.tar" if name == "savedmodel" else "tflite"
    return {
        "variant": name,
        "artifact": {"digest": DIGEST, "size_bytes": 43_000, "format": made_of},
        "memory_mib": 16,
        "latency": {"p50_ms": 0.02, "p99_ms": 0.1},
        **changed,
    }


SPECS: dict[str, dict[str, Json]] = {
    "Site": {"kind": "edge", "jurisdiction": "EU"},
    "Zone": {"region": "cloud"},
    "ModelVersion": {"model": "digits", "variants": [variant()]},
    "ModelService": {
        "model": "digits",
        "policy": "line",
        "demand": [{"zone": "callers", "rate_rps": 10, "request_bytes": 400, "response_bytes": 100}],
    },
    "PlacementPolicy": {},
    "TenantQuota": {"cores": 4},
    "TrainingJob": {"model": "digits", "recipe": "digits-cnn"},
}


def document(kind: str, spec: dict[str, Json] | None = None, **metadata: Json) -> dict[str, Json]:
    wanted = SPECS[kind] if spec is None else spec
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "thing", **metadata}, "spec": wanted}


def stored(
    document: dict[str, Json], status: dict[str, Json] | None = None, created_wall_s: float = 0.0
) -> StoredObject:
    """As the store hands it out after a write."""
    form = validate(document)
    key: Key = key_of(form)
    return StoredObject(key, "u-1", 7, 2, Owner.COMMAND, labels_of(form), spec_of(form), status or {}, created_wall_s)


def leaves(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, object]]:
    """Each field that holds a value, by its path, with its default (None: it has none)."""
    for name, found in model.model_fields.items():
        inner = next(_models(found.annotation), None)
        if inner is not None:
            yield from leaves(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}", None if found.is_required() else found.default


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
