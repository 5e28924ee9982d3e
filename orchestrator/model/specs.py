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
    """A registered edge machine that is attached now or still counted on, and what it offers."""

    name: NodeName
    capacity: Resources
    silent_s: float = 0.0  # 0 while it is attached
    schedulable: bool = True  # False: cordoned, it offers what stays there and takes nothing new


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
    egress_usd_per_gb: float = 0.0  # of calls' bytes that leave the site
    link_in_bps: float | None = None  # of calls from outside the site; None: not a limit
    link_out_bps: float | None = None
    front_bps: float | None = None  # of one front of this region, both ways summed
    labels: tuple[tuple[str, str], ...] = ()  # sorted; for policies' expressions


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

    def with_more_memory(self, more_bytes: int) -> "VariantSpec":
        need = replace(self.need, memory_bytes=self.need.memory_bytes + more_bytes)
        profiles = tuple(
            one if one.memory_bytes is None else replace(one, memory_bytes=one.memory_bytes + more_bytes)
            for one in self.profiles
        )
        return replace(self, need=need, profiles=profiles)


@dataclass(frozen=True, slots=True)
class VersionSpec:
    ref: VersionRef
    model: str
    variants: tuple[VariantSpec, ...]

    def with_more_memory(self, more_bytes: int) -> "VersionSpec":
        """Every variant claims so much more (less, where it is negative), on every hardware class."""
        return replace(self, variants=tuple(variant.with_more_memory(more_bytes) for variant in self.variants))

    def variants_on(self, hardware_class: str) -> tuple[VariantSpec, ...]:
        return tuple(variant.on(hardware_class) for variant in self.variants)


SILENT = "no node of the site is attached"  # in place of an expression: nobody can drop it from a policy


@dataclass(frozen=True, slots=True)
class SiteRule:
    """What a policy's expressions said of one site."""

    site: SiteName
    failed_requirement: str | None  # the first `required` expression that was false
    preference: float  # sum of the weights of the `preferred` expressions that were true
    also_failed: tuple[str, ...] = ()  # the others that were false


class Within(StrEnum):
    """What two services that are kept apart do not share."""

    SITE = "site"
    FAILURE_DOMAIN = "failure_domain"


class Isolation(StrEnum):
    """Where a replica runs on an edge node: in the agent's process, or in one of its own, held to its claim."""

    SHARED = "shared"
    PROCESS = "process"


# Resident in a process before its model: Python, numpy, LiteRT and the server. 59 MiB were measured (benchmarks.edge).
PROCESS_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Pin:
    """A site that holds at least so many replicas."""

    site: SiteName
    replicas: int


@dataclass(frozen=True, slots=True)
class AntiAffinity:
    """Not beside the replicas of this service. It binds both, whichever of the two policies says it."""

    service: ServiceRef
    within: Within


class OnReturn(StrEnum):
    """Of replicas that were replaced while their node was silent, once it is back."""

    BY_COST = "by_cost"  # as any other site
    KEEP_REPLACEMENT = "keep_replacement"  # the site is taken last, until it holds one again
    PREFER_ORIGINAL = "prefer_original"  # the site is taken first, until it does


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """Limits that a placement must keep, and what its cost counts. None: no limit."""

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
    burst_to_cloud: bool = True  # False: no replicas in regions
    survive_site_losses: int = 0  # 1: with any one site gone the others carry all calls
    max_share_per_domain: float = 1.0  # of the service's calls
    pins: tuple[Pin, ...] = ()
    bans: frozenset[SiteName] = frozenset()
    anti_affinity: tuple[AntiAffinity, ...] = ()
    usd_per_hour_waited: float = 10.0  # what an hour of callers' waiting counts
    usd_per_unserved_call: float = 1.0
    horizon_s: float = 3_600.0  # a start or stop is paid off within this
    usd_per_start: float = 0.0
    usd_per_stop: float = 0.0
    rollout_bps_per_site: float | None = None
    rollout_window_s: float = 60.0
    max_concurrent_changes: int | None = None
    isolation: Isolation = Isolation.SHARED  # its memory is in the services' variants already
    brake_share: float = 0.5  # of a failure domain: if more fell silent together, they are waited for
    max_surge: int | None = None  # of one site: replicas of another version beyond those wanted; None: what fits
    in_place: bool = True  # False: an update waits for room rather than leave a site without the replica
    single_writer: bool = False  # never two replicas that serve at the same time
    wave_sites: float | None = None  # that another version goes to at a time, below 1 a part of all; None: all at once
    wave_pause_s: float = 30.0  # a wave that is ready is watched for so long
    max_failures: int = 0  # sites that may fail before a rollout is taken back everywhere
    ready_within_s: float = 1_800.0
    max_error_share: float = 0.5  # of the calls at a site with the new version
    on_return: OnReturn = OnReturn.BY_COST


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
    freeze: str | None = None  # the policy's window that holds now: what runs neither moves nor changes


@dataclass(frozen=True, slots=True)
class QuotaSpec:
    """The most that the replicas of a namespace's services take together, over all sites."""

    namespace: str
    name: str
    limit: Resources
