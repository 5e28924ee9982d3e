"""Plain documents <-> checked forms <-> stored objects."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TypeAlias, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.errors import InvalidRequest
from orchestrator.model.stored import Json, JsonObject, Key, StoredObject
from orchestrator.objects.fields import NamespacedMetadata
from orchestrator.objects.kinds import API_VERSION, KINDS
from orchestrator.objects.model_forms import ModelService, ModelVersion, TrainingJob
from orchestrator.objects.place_forms import Site, Zone
from orchestrator.objects.policy_form import PlacementPolicy

Form: TypeAlias = Site | Zone | ModelVersion | ModelService | PlacementPolicy | TrainingJob
FORMS: Mapping[str, type[Form]] = {
    "Site": Site,
    "Zone": Zone,
    "ModelVersion": ModelVersion,
    "ModelService": ModelService,
    "PlacementPolicy": PlacementPolicy,
    "TrainingJob": TrainingJob,
}
_READ_ONLY = ("uid", "generation", "managedBy", "creationTimestamp")
_NAME_RULE = "use lower-case letters, digits and '-' inside, at most 63"
_PATTERN_RULES = {
    "^[a-z0-9]([-a-z0-9]*": _NAME_RULE,
    "^sha256:": "write sha256: and 64 hexadecimal digits, as `skerry model push` prints",
    "^([": "use letters, digits, '-', '_' and '.', and begin and end with a letter or digit",
    "^[A-Za-z0-9]([-A-Za-z0-9]*": "use letters, digits and '-', such as EU or US-CA",
}


def validate(document: Mapping[str, Json]) -> Form:
    """A document as an object of its kind. Raises InvalidRequest with the field's path, such as spec.latency.p99_ms."""
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in FORMS:
        raise InvalidRequest("kind", kind, _one_of(str(kind), list(FORMS)))
    if document.get("apiVersion") != API_VERSION:
        raise InvalidRequest("apiVersion", document.get("apiVersion"), f"write apiVersion: {API_VERSION}")
    form = FORMS[kind]
    try:
        # Through JSON: only there does strict mode take a list for a tuple and a word for an enum.
        return form.model_validate_json(json.dumps(document, allow_nan=False))
    except ValidationError as err:
        raise _as_invalid_request(form, err) from err
    except (TypeError, ValueError, RecursionError) as err:
        raise InvalidRequest(kind, str(err), "use text, finite numbers, lists and maps only") from err


def form_of(stored: StoredObject) -> Form:
    """A stored object as its form. Raises InvalidRequest if this release does not accept it (any more)."""
    metadata: dict[str, Json] = {"name": stored.key.name, "labels": dict(stored.labels)}
    if KINDS[stored.key.kind].namespaced:
        metadata["namespace"] = stored.key.namespace
    spec = dict(stored.spec)
    return validate({"apiVersion": API_VERSION, "kind": stored.key.kind, "metadata": metadata, "spec": spec})


def key_of(form: Form) -> Key:
    metadata = form.metadata
    return Key(form.kind, metadata.namespace if isinstance(metadata, NamespacedMetadata) else "", metadata.name)


def labels_of(form: Form) -> dict[str, str]:
    return dict(form.metadata.labels)


def revision_of(form: Form) -> int | None:
    """The revision that a write must find, where the document names one."""
    return form.metadata.revision


def spec_of(form: Form) -> JsonObject:
    """The spec with defaults filled in and absent fields left out: equal specs are equal whatever was written."""
    spec: dict[str, Json] = form.spec.model_dump(mode="json", exclude_none=True)
    if isinstance(form, Site):
        spec.setdefault("failure_domain", form.metadata.name)
    return spec


def document_of(stored: StoredObject) -> dict[str, Json]:
    """The document that `get` shows; `validate` takes it back."""
    metadata: dict[str, Json] = {"name": stored.key.name}
    if stored.key.namespace:
        metadata["namespace"] = stored.key.namespace
    metadata |= {
        "labels": dict(stored.labels),
        "uid": stored.uid,
        "revision": stored.revision,
        "generation": stored.generation,
        "managedBy": stored.owner.value,
        "creationTimestamp": datetime.fromtimestamp(stored.created_wall_s, UTC).isoformat().replace("+00:00", "Z"),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": stored.key.kind,
        "metadata": metadata,
        "spec": dict(stored.spec),
        "status": dict(stored.status),
    }


def _as_invalid_request(form: type[BaseModel], err: ValidationError) -> InvalidRequest:
    """The first error; an unknown field first of all, since a misspelt one is also a missing one."""
    errors = sorted(err.errors(include_url=False), key=lambda error: error["type"] != "extra_forbidden")
    first = errors[0]
    context = first.get("ctx", {})
    parts = [str(part) for part in first["loc"] if part != "[key]"]
    if first["type"] == "extra_forbidden":
        return InvalidRequest(".".join(parts), first["input"], _unknown(form, parts))
    if first["type"] == "skerry":
        field = ".".join([*parts, context["field"]] if context["field"] else parts)
        return InvalidRequest(field, context["value"], context["remedy"])
    if first["type"] == "missing":
        return InvalidRequest(".".join(parts), None, "give this field: it is required")
    return InvalidRequest(".".join(parts), first["input"], _remedy(first))


def _remedy(error: ErrorDetails) -> str:
    if error["type"] == "string_pattern_mismatch":
        pattern = str(error.get("ctx", {}).get("pattern", ""))
        for start, rule in _PATTERN_RULES.items():
            if pattern.startswith(start) and not (rule == _NAME_RULE and "A-Z" in pattern):
                return rule
    return error["msg"][0].lower() + error["msg"][1:]


def _unknown(form: type[BaseModel], parts: list[str]) -> str:
    model: type[BaseModel] | None = form
    for part in parts[:-1]:
        if model is not None and not part.isdigit():
            field = model.model_fields.get(part)
            model = next(_models_in(field.annotation), None) if field else None
    known = list(model.model_fields) if model else []
    return "unknown field; " + _one_of(parts[-1], [name for name in known if name not in _READ_ONLY])


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _one_of(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{meant}accepted here: {', '.join(known)}"
