"""What operators asked for, as the planner sees it."""

from dataclasses import dataclass, replace
from enum import StrEnum

from orchestrator.model.ids import Digest, NodeName, ServiceRef, SiteName, VersionRef, ZoneName
from orchestrator.model.resources import Resources


class SiteKind(StrEnum):
    EDGE = "edge"
    REGION = "region"


class Variant(StrEnum):
    SAVEDMODEL = "savedmodel"
    LITERT_FP32 = "litert-fp32"
    LITERT_FP16 = "litert-fp16"
    LITERT_INT8 = "litert-int8"

    @property
    def artifact_format(self) -> str:
        """Of the artifact's bytes, as the wire names it."""
        return "savedmodel.tar" if self is Variant.SAVEDMODEL else "tflite"


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A registered edge machine that is attached now, and what it offers."""

    name: NodeName
    capacity: Resources


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """A place that holds replicas. `capacity` is the nodes' sum or the region's quota, before any claim."""

    name: SiteName
    kind: SiteKind
    jurisdiction: str
    failure_domain: str
    hardware_class: str
    price_usd_per_hour: float  # of one full core, prorated by a replica's compute
    capacity: Resources
    nodes: tuple[NodeSpec, ...] = ()  # attached ones of an edge site; a region has none
    reachable: bool = True  # edge: a node is attached; region: its Ray answers


@dataclass(frozen=True, slots=True)
class ZoneSpec:
    """Where callers enter: at one region's fronts, or at one site's agent on its LAN. Exactly one is set."""

    name: ZoneName
    region: SiteName | None
    site: SiteName | None


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """What was measured of a variant on one hardware class. `memory_bytes` None: it claims what it does elsewhere."""

    hardware_class: str
    service_p50_ms: float
    service_p99_ms: float
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class VariantSpec:
    """One built form of a version, with what was measured when it was made, and since then elsewhere."""

    variant: Variant
    digest: Digest
    size_bytes: int
    need: Resources
    service_p50_ms: float  # of one call on the machine that measured it
    service_p99_ms: float
    accuracy: float | None  # None: nobody measured it
    profiles: tuple[HardwareProfile, ...] = ()  # one for a hardware class at most

    def on(self, hardware_class: str) -> "VariantSpec":
        """As measured there; on hardware that nobody measured, as it is."""
        found = next((each for each in self.profiles if each.hardware_class == hardware_class), None)
        if found is None:
            return self
        memory_bytes = self.need.memory_bytes if found.memory_bytes is None else found.memory_bytes
        return replace(
            self,
            need=replace(self.need, memory_bytes=memory_bytes),
            service_p50_ms=found.service_p50_ms,
            service_p99_ms=found.service_p99_ms,
        )


@dataclass(frozen=True, slots=True)
class VersionSpec:
    ref: VersionRef
    model: str
    variants: tuple[VariantSpec, ...]

    def variants_on(self, hardware_class: str) -> tuple[VariantSpec, ...]:
        return tuple(variant.on(hardware_class) for variant in self.variants)


@dataclass(frozen=True, slots=True)
class SiteRule:
    """What a policy's expressions said of one site."""

    site: SiteName
    failed_requirement: str | None  # the first `required` expression that was false
    preference: float  # sum of the weights of the `preferred` expressions that were true


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """Limits that a placement must keep. None: no limit."""

    name: str
    latency_p99_ms: float | None
    wan_bps_per_zone: float | None
    jurisdictions: frozenset[str] | None
    accuracy_min: float | None
    replicas_min: int
    replicas_max: int
    min_failure_domains: int
    max_usd_per_hour: float | None
    lost_after_s: float
    replace_lost: bool
    valid_offline_s: float
    min_gain: float  # relative; a running replica moves only for more
    max_sample_age_s: float  # a hard objective is not judged by an older sample
    priority: int


@dataclass(frozen=True, slots=True)
class DemandSpec:
    """What one zone asks of a service: the declared rate or the measured one, whichever is higher."""

    zone: ZoneName
    rate_rps: float
    request_bytes: int
    response_bytes: int


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    ref: ServiceRef
    version: VersionSpec
    policy: PolicySpec
    demands: tuple[DemandSpec, ...]
    rules: tuple[SiteRule, ...]  # one for each site
