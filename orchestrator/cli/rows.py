"""What `skerry get` shows of each kind: one row of columns per object."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.cli.output import age_text, bytes_text

if TYPE_CHECKING:
    from orchestrator.cli.client import Document, Json


def at(document: "Json", *path: str) -> "Json":
    """The value at a path, None where any part of it is missing."""
    for part in path:
        if not isinstance(document, dict):
            return None
        document = document.get(part)
    return document


def items(document: "Mapping[str, Json]", key: str) -> "list[dict[str, Json]]":
    """The objects of a list under a key."""
    found = document.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def figure(value: "Json", unit: str = "") -> str:
    """Three digits or more, as many as matter."""
    if not isinstance(value, int | float):
        return "-"
    shown = f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{shown} {unit}".rstrip()


def text(value: "Json") -> str:
    if value is None or value == "" or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(text(one) for one in value)
    if isinstance(value, dict):
        return ",".join(f"{key}={text(one)}" for key, one in value.items())
    return str(value)


def condition(document: "Document", type: str) -> "Document | None":
    """The condition of that type, in any case."""
    found = at(document, "status", "conditions")
    for one in found if isinstance(found, list) else []:
        if isinstance(one, dict) and str(one.get("type", "")).lower() == type.lower():
            return one
    return None


def phase_of(document: "Document") -> str:
    return text(at(document, "status", "phase"))


def _field(*path: str) -> "Callable[[Document], str]":
    return lambda document: text(at(document, *path))


def _ready(document: "Document") -> str:
    return text((condition(document, "Ready") or {}).get("status"))


def _replicas(document: "Document") -> str:
    """Ready ones of all."""
    found = at(document, "status", "replicas")
    replicas = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return f"{sum(one.get('phase') == 'ready' for one in replicas)}/{len(replicas)}"


def _sites(document: "Document") -> str:
    found = at(document, "status", "replicas")
    names = {text(one.get("site")) for one in found if isinstance(one, dict)} if isinstance(found, list) else set()
    return ",".join(sorted(names)) or "-"


def _held(document: "Document") -> str:
    """Why a service stays as it is, although the planner would change it."""
    stable = condition(document, "Stable") or {}
    return text(stable.get("reason")).lower() if stable.get("status") == "False" else "-"


def _variants(document: "Document") -> "list[Json]":
    found = at(document, "spec", "variants")
    return found if isinstance(found, list) else []


def _variant_names(document: "Document") -> str:
    return ",".join(text(at(one, "variant")) for one in _variants(document)) or "-"


def _size(document: "Document") -> str:
    """The smallest variant's."""
    sizes = [at(one, "artifact", "size_bytes") for one in _variants(document)]
    known = [size for size in sizes if isinstance(size, int)]
    return bytes_text(min(known)) if known else "-"


def _accuracy(document: "Document") -> str:
    """The best variant's, where anybody measured it."""
    found = [at(one, "accuracy") for one in _variants(document)]
    known = [accuracy for accuracy in found if isinstance(accuracy, int | float)]
    return f"{max(known):.4f}" if known else "-"


def _steps(document: "Document") -> str:
    return f"{text(at(document, 'status', 'step'))}/{text(at(document, 'status', 'steps'))}"


def _wanted_replicas(document: "Document") -> str:
    wanted = at(document, "spec", "replicas")
    return f"{text(at(wanted, 'min'))}..{text(at(wanted, 'max'))}"


def created_age(document: "Document") -> str:
    created = at(document, "metadata", "creationTimestamp")
    try:
        return age_text(time.time() - datetime.fromisoformat(str(created)).timestamp())
    except ValueError:
        return "-"


@dataclass(frozen=True, slots=True)
class Column:
    head: str
    show: "Callable[[Document], str]"
    wide: bool = False  # only with -o wide


COLUMNS: dict[str, tuple[Column, ...]] = {
    "Site": (
        Column("KIND", _field("spec", "kind")),
        Column("JURISDICTION", _field("spec", "jurisdiction")),
        Column("DOMAIN", _field("spec", "failure_domain")),
        Column("HARDWARE", _field("spec", "hardware_class"), wide=True),
        Column("USD_PER_HOUR", _field("spec", "price_usd_per_hour"), wide=True),
    ),
    "Zone": (Column("REGION", _field("spec", "region")), Column("SITE", _field("spec", "site"))),
    "ModelVersion": (
        Column("MODEL", _field("spec", "model")),
        Column("VARIANTS", _variant_names),
        Column("ACCURACY", _accuracy),
        Column("SIZE", _size),
        Column("SOURCE", _field("spec", "source", "kind")),
        Column("JOB", _field("spec", "source", "job"), wide=True),
    ),
    "ModelService": (
        Column("READY", _ready),
        Column("PHASE", phase_of),
        Column("VERSION", _field("status", "version")),
        Column("REPLICAS", _replicas),
        Column("SITES", _sites),
        Column("HELD", _held),
        Column("POLICY", _field("spec", "policy"), wide=True),
        Column("DECISION", _field("status", "decision"), wide=True),
    ),
    "PlacementPolicy": (
        Column("P99_MS", _field("spec", "latency", "p99_ms")),
        Column("ACCURACY", _field("spec", "accuracy", "min")),
        Column("REPLICAS", _wanted_replicas),
        Column("RESIDENCY", _field("spec", "residency", "jurisdictions")),
    ),
    "TenantQuota": (
        Column("MEMORY_MIB", _field("spec", "memory_mib")),
        Column("CORES", _field("spec", "cores")),
    ),
    "TrainingJob": (
        Column("PHASE", phase_of),
        Column("STEP", _steps),
        Column("VERSION", _field("status", "version")),
        Column("MESSAGE", _field("status", "message"), wide=True),
    ),
}
AGE = Column("AGE", created_age)
WIDE = (
    Column("OWNER", _field("metadata", "managedBy"), wide=True),
    Column("REVISION", _field("metadata", "revision"), wide=True),
    Column("LABELS", _field("metadata", "labels"), wide=True),
)


def columns_for(kind: str, namespaces: bool, wide: bool) -> tuple[Column, ...]:
    """`namespaces`: say which one each object is in. `kind` "": objects of several kinds."""
    first = (Column("NAMESPACE", _field("metadata", "namespace")),) if namespaces else ()
    if kind:
        own = COLUMNS.get(kind, ())
        name = (Column("NAME", _field("metadata", "name")),)
    else:
        own, name = (
            (),
            (Column("NAME", lambda one: f"{str(one.get('kind')).lower()}/{text(at(one, 'metadata', 'name'))}"),),
        )
    return tuple(column for column in (*first, *name, *own, AGE, *WIDE) if wide or not column.wide)


def rows_of(documents: "Sequence[Document]", columns: Sequence[Column]) -> list[list[str]]:
    return [[column.show(document) for column in columns] for document in documents]
