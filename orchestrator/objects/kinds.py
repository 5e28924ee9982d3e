"""Which kinds there are and what they are called. Light on purpose: the command completes names with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from orchestrator.errors import InvalidRequest

API_VERSION = "skerry.dev/v1alpha1"
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object, with the words that the command accepts for it."""

    name: str
    plural: str
    short: tuple[str, ...]
    namespaced: bool  # False: belongs to the whole installation
    immutable: bool  # its spec is never changed, only created and deleted
    summary: str


def _by_name(*kinds: Kind) -> Mapping[str, Kind]:
    return MappingProxyType({kind.name: kind for kind in kinds})


KINDS: Mapping[str, Kind] = _by_name(
    Kind("Site", "sites", ("st",), False, False, "a place that holds replicas: an edge site or a region"),
    Kind("Zone", "zones", ("zn",), False, False, "where requests come from"),
    Kind("ModelVersion", "modelversions", ("mv", "versions"), True, True, "an immutable model with its variants"),
    Kind("ModelService", "modelservices", ("ms", "services", "svc"), True, False, "a version under a policy"),
    Kind("PlacementPolicy", "placementpolicies", ("pp", "policies"), True, False, "limits that a placement keeps"),
    Kind("TenantQuota", "tenantquotas", ("tq", "quotas"), True, False, "the most that a namespace's replicas take"),
    Kind("TrainingJob", "trainingjobs", ("tj", "jobs"), True, True, "one training run that ends in a version"),
)


# Written by the control plane alone: an agent brings it, and verbs of its own change it.
NODE = Kind("Node", "nodes", ("no",), False, False, "a registered edge machine")
NODE_REMEDY = (
    "a node registers itself and is not applied: `skerry-edge run --site SITE --node NAME` on the machine brings it, "
    "`skerry cordon`, `uncordon` and `drain` change it, `skerry get nodes` shows it"
)
STORED: Mapping[str, Kind] = _by_name(*KINDS.values(), NODE)  # what can be looked up, watched and deleted


def _singular(word: str) -> str:
    return f"{word.removesuffix('ies')}y" if word.endswith("ies") else word.removesuffix("s")


def kind_named(word: str) -> Kind:
    """The kind by name, singular, plural or short name, in any case. Raises InvalidRequest."""
    for kind in STORED.values():
        if _calls(word, kind):
            return kind
    raise InvalidRequest("kind", word, f"use one of {', '.join(kind.plural for kind in KINDS.values())}")


def names_node(word: str) -> bool:
    """Whether `word` means nodes, in any of the ways that a kind goes by."""
    return _calls(word, NODE)


def _calls(word: str, kind: Kind) -> bool:
    return word.lower() in (kind.name.lower(), kind.plural, *kind.short, *map(_singular, kind.short))
