"""Plain documents <-> checked forms <-> stored objects."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TypeAlias, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.errors import InvalidRequest, together
from orchestrator.model.stored import Json, JsonObject, Key, StoredObject
from orchestrator.objects.fields import NamespacedMetadata
from orchestrator.objects.kinds import API_VERSION, KINDS, NODE, NODE_REMEDY
from orchestrator.objects.model_forms import ModelService, ModelVersion, TrainingJob
from orchestrator.objects.place_forms import Site, TenantQuota, Zone
from orchestrator.objects.policy_form import PlacementPolicy

Form: TypeAlias = Site | Zone | ModelVersion | ModelService | PlacementPolicy | TenantQuota | TrainingJob
FORMS: Mapping[str, type[Form]] = {
    "Site": Site,
    "Zone": Zone,
    "ModelVersion": ModelVersion,
    "ModelService": ModelService,
    "PlacementPolicy": PlacementPolicy,
    "TenantQuota": TenantQuota,
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
    """A document as an object of its kind. Raises InvalidRequest with the path of each bad field (spec.latency.p99_ms).

    What is wrong between fields is seen once each of them is right by itself.
    """
    kind, version = document.get("kind"), document.get("apiVersion")
    wrong = (
        [] if version == API_VERSION else [InvalidRequest("apiVersion", version, f"write apiVersion: {API_VERSION}")]
    )
    if kind == NODE.name:
        raise InvalidRequest("kind", kind, NODE_REMEDY)
    if not isinstance(kind, str) or kind not in FORMS:
        raise together([InvalidRequest("kind", kind, _one_of(str(kind), list(FORMS))), *wrong])
    try:
        # Through JSON: only there does strict mode take a list for a tuple and a word for an enum.
        checked = FORMS[kind].model_validate_json(json.dumps({**document, "apiVersion": API_VERSION}, allow_nan=False))
    except ValidationError as err:
        raise together([*wrong, *_problems(FORMS[kind], err)]) from err
    except (TypeError, ValueError, RecursionError) as err:
        raise InvalidRequest(kind, str(err), "use text, finite numbers, lists and maps only", wrong) from err
    if wrong:
        raise together(wrong)
    return checked


def validate_all(documents: Sequence[Mapping[str, Json]]) -> list[Form]:
    """Several documents. Raises InvalidRequest with all that is wrong in any, each field behind its document's name."""
    forms: list[Form] = []
    wrong: list[InvalidRequest] = []
    for number, document in enumerate(documents, start=1):
        try:
            forms.append(validate(document))
        except InvalidRequest as err:
            wrong.append(err.at(_place(number, document)) if len(documents) > 1 else err)
    if wrong:
        raise together(wrong)
    return forms


def _place(number: int, document: Mapping[str, Json]) -> str:
    """Which one, for a reader who sees neither file nor line."""
    kind, metadata = document.get("kind"), document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    called = " ".join(one for one in (kind, name) if isinstance(one, str))[:100]
    return f"document {number}{f' ({called})' if called else ''}: "


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


def _problems(form: type[BaseModel], err: ValidationError) -> list[InvalidRequest]:
    """Each error once; unknown fields first of all."""
    errors = sorted(err.errors(include_url=False), key=lambda error: error["type"] != "extra_forbidden")
    unknown = [_parts(error) for error in errors if error["type"] == "extra_forbidden"]
    misspelt = [[*parts[:-1], *_close(parts[-1], _known(form, parts))] for parts in unknown]
    return [_problem(form, error) for error in errors if not _follows(error, errors, misspelt)]


def _follows(error: ErrorDetails, errors: list[ErrorDetails], misspelt: list[list[str]]) -> bool:
    """Whether it goes away with another: a misspelt field is also missing, a list without its bad items too short."""
    if error["type"] == "missing":
        return _parts(error) in misspelt
    depth = len(error["loc"])
    return error["type"] == "too_short" and any(
        len(other["loc"]) > depth and other["loc"][:depth] == error["loc"] for other in errors
    )


def _parts(error: ErrorDetails) -> list[str]:
    return [str(part) for part in error["loc"] if part != "[key]"]


def _problem(form: type[BaseModel], error: ErrorDetails) -> InvalidRequest:
    context, parts = error.get("ctx", {}), _parts(error)
    if error["type"] == "extra_forbidden":
        return InvalidRequest(
            ".".join(parts), error["input"], f"unknown field; {_one_of(parts[-1], _known(form, parts))}"
        )
    if error["type"] == "skerry":
        field = ".".join([*parts, context["field"]] if context["field"] else parts)
        return InvalidRequest(field, context["value"], context["remedy"])
    if error["type"] == "missing":
        return InvalidRequest(".".join(parts), None, "give this field: it is required")
    return InvalidRequest(".".join(parts), error["input"], _remedy(error))


def _remedy(error: ErrorDetails) -> str:
    if error["type"] == "string_pattern_mismatch":
        pattern = str(error.get("ctx", {}).get("pattern", ""))
        for start, rule in _PATTERN_RULES.items():
            if pattern.startswith(start) and not (rule == _NAME_RULE and "A-Z" in pattern):
                return rule
    return error["msg"][0].lower() + error["msg"][1:]


def _known(form: type[BaseModel], parts: list[str]) -> list[str]:
    """The fields that are accepted where the last part of a path stands."""
    model: type[BaseModel] | None = form
    for part in parts[:-1]:
        if model is not None and not part.isdigit():
            field = model.model_fields.get(part)
            model = next(_models_in(field.annotation), None) if field else None
    return [name for name in model.model_fields if name not in _READ_ONLY] if model else []


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _close(word: str, known: list[str]) -> list[str]:
    """What was meant, if that can be guessed."""
    return get_close_matches(word, known, n=1, cutoff=0.6)


def _one_of(word: str, known: list[str]) -> str:
    close = _close(word, known)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{meant}accepted here: {', '.join(known)}"
