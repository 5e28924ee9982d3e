"""What runs already, as claims: placed for yesterday's calls by somebody who knew less."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from numpy.random import Generator

from orchestrator.model.claims import Claim, JobHold, ReplicaHold
from orchestrator.model.ids import Digest, JobRef, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import PlacementSettings
from orchestrator.model.specs import ServiceSpec, SiteKind, SiteSpec, Variant


@dataclass(slots=True)
class Floor:
    """Room that is left while claims are made."""

    sites: Sequence[SiteSpec]
    free: dict[tuple[SiteName, NodeName | None], Resources] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for site in self.sites:
            if site.kind is SiteKind.REGION:
                self.free[site.name, None] = site.capacity
            for node in site.nodes:
                self.free[site.name, node.name] = node.capacity

    def take(self, site: SiteSpec, need: Resources) -> tuple[bool, NodeName | None]:
        """On the node with most memory left."""
        places = [(None if site.kind is SiteKind.REGION else node.name) for node in site.nodes] or [None]
        at = max(places, key=lambda place: (self.free[site.name, place].memory_bytes, place or ""))
        if not need.fits_in(self.free[site.name, at]):
            return False, None
        self.free[site.name, at] -= need
        return True, at


def claims(
    sites: Sequence[SiteSpec],
    wanted: Sequence[ServiceSpec],
    open_to: Mapping[ServiceRef, Sequence[SiteSpec]],
    settings: PlacementSettings,
    random: Generator,
) -> tuple[Claim, ...]:
    """Three services in four run, one in five in its old version; jobs take a quarter of each region."""
    floor, found = Floor(sites), list[Claim]()
    for number, region in enumerate(site for site in sites if site.kind is SiteKind.REGION):
        need = Resources(region.capacity.memory_bytes // 4, region.capacity.compute_millis // 4)
        floor.take(region, need)
        job = JobHold(JobRef("acme", f"job-{number}"))
        found.append(_claim(f"job/acme/job-{number}/u", region, None, need, ClaimPhase.BOUND, job))
    for number, service in enumerate(wanted):
        if number % 4 != 3:
            found += _running(service, open_to[service.ref], floor, settings, random, old=number % 5 == 2)
    return tuple(found)


def _running(
    service: ServiceSpec,
    able: Sequence[SiteSpec],
    floor: Floor,
    settings: PlacementSettings,
    random: Generator,
    *,
    old: bool,
) -> list[Claim]:
    """For four fifths of its calls, at any third of the sites; one claim in thirty drains."""
    found: list[Claim] = []
    left_rps = 0.8 * sum(demand.rate_rps for demand in service.demands)
    version = VersionRef(service.ref.namespace, f"{service.ref.name}-1") if old else service.version.ref
    for at in random.permutation(len(able))[: max(len(able) // 3, 1)]:
        site = able[int(at)]
        variant = next(v for v in service.version.variants_on(site.hardware_class) if v.variant is Variant.LITERT_FP32)
        one_rps = settings.target_utilisation * 1000 / variant.service_p50_ms
        most = 3 if site.kind is SiteKind.EDGE else 6
        for copy in range(min(max(math.ceil(left_rps / one_rps), 0), most)):
            fits, node = floor.take(site, variant.need)
            if not fits:
                break
            left_rps -= one_rps
            digest = Digest(f"{variant.digest}-old") if old else variant.digest
            phase = ClaimPhase.DRAINING if random.random() < 1 / 30 else ClaimPhase.BOUND
            hold = ReplicaHold(service.ref, version, variant.variant, digest)
            name = f"{service.ref.namespace}-{service.ref.name}-{site.name}-{copy}"
            found.append(_claim(name, site, node, variant.need, phase, hold))
    return found


def _claim(
    name: str, site: SiteSpec, node: NodeName | None, need: Resources, phase: ClaimPhase, hold: ReplicaHold | JobHold
) -> Claim:
    return Claim(ReplicaId(name), site.name, node, need, phase, hold, None, 1, 0.0)
