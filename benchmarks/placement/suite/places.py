"""Regions, edge sites and zones of a made-up country, and the legs measured between them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from orchestrator.model.ids import FrontName, NodeName, SiteName, ZoneName
from orchestrator.model.legs import Leg, Path
from orchestrator.model.resources import Resources
from orchestrator.model.specs import NodeSpec, SiteKind, SiteSpec, ZoneSpec
from orchestrator.placement.paths import compose

GIB = 1 << 30
SIDE_KM = 1_500.0
# Light in fibre, there and back, over cables half as long again as the straight line.
MS_PER_KM = 2 * 1.5 / 200
# Regions that an edge site keeps connections to: the nearest, as agents do.
REGIONS_PER_SITE = 2


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. `zones` enter at regions' fronts, `lan_zones` at an edge site's agent."""

    regions: int
    edge_sites: int
    zones: int
    lan_zones: int
    services: int

    @property
    def sites(self) -> int:
        return self.regions + self.edge_sites


SIZES = {
    "tiny": Size(regions=1, edge_sites=4, zones=1, lan_zones=2, services=4),
    "small": Size(regions=3, edge_sites=27, zones=6, lan_zones=8, services=12),
    "medium": Size(regions=6, edge_sites=194, zones=12, lan_zones=40, services=30),
    "large": Size(regions=10, edge_sites=4_990, zones=20, lan_zones=200, services=40),
}


@dataclass(frozen=True, slots=True)
class Places:
    regions: tuple[SiteSpec, ...]
    edges: tuple[SiteSpec, ...]
    zones: tuple[ZoneSpec, ...]
    lan_zones: tuple[ZoneSpec, ...]
    paths: tuple[Path, ...]

    @property
    def sites(self) -> tuple[SiteSpec, ...]:
        return (*self.regions, *self.edges)


def places(size: Size, random: Generator) -> Places:
    """One country in two jurisdictions: EU in the west, UK in the east."""
    region_km = random.uniform(0.15 * SIDE_KM, 0.85 * SIDE_KM, (size.regions, 2))
    # People live in towns, and most towns lie near a region.
    towns_km = region_km[random.integers(0, size.regions, 3 * size.regions)]
    towns_km = towns_km + random.normal(0, 0.12 * SIDE_KM, towns_km.shape)
    site_km = towns_km[random.integers(0, len(towns_km), size.edge_sites)]
    site_km = site_km + random.normal(0, 0.03 * SIDE_KM, site_km.shape)
    regions = tuple(_region(f"region-{at:02}", place, random) for at, place in enumerate(region_km))
    edges = tuple(_edge(at, place, random) for at, place in enumerate(site_km))
    fronts = {FrontName(f"{region.name}-front"): str(region.name) for region in regions}
    zones = tuple(
        ZoneSpec(ZoneName(f"zone-{at:02}"), regions[at % size.regions].name, None) for at in range(size.zones)
    )
    homes = np.sort(random.choice(size.edge_sites, size.lan_zones, replace=False))
    lan_zones = tuple(ZoneSpec(ZoneName(f"lan-{edges[home].name}"), None, edges[home].name) for home in homes)
    legs = _legs(regions, edges, region_km, site_km, random)
    paths = compose((*zones, *lan_zones), (*regions, *edges), legs, fronts)
    return Places(regions, edges, zones, lan_zones, paths)


def _jurisdiction(place: NDArray[np.float64]) -> str:
    return "EU" if place[0] < 0.7 * SIDE_KM else "UK"


def _region(name: str, place: NDArray[np.float64], random: Generator) -> SiteSpec:
    """A pool with a quota; its fronts bear some Gbit/s."""
    return SiteSpec(
        name=SiteName(name),
        kind=SiteKind.REGION,
        jurisdiction=_jurisdiction(place),
        failure_domain=name,
        hardware_class="cloud",
        price_usd_per_hour=float(random.uniform(0.05, 0.09)),
        capacity=Resources(256 * GIB, 96_000),
        egress_usd_per_gb=0.08,
        front_bps=float(random.choice([1e9, 2e9])),
    )


def _edge(at: int, place: NDArray[np.float64], random: Generator) -> SiteSpec:
    """One to four equal nodes; four to ten neighbouring sites share a failure domain, their substation."""
    name = f"edge-{at:04}"
    cores = int(random.choice([2, 4, 8], p=[0.4, 0.4, 0.2]))
    each = Resources(int(cores * random.choice([1, 2])) * GIB, 1_000 * cores)
    count = int(random.integers(1, 5))
    metered = random.random() < 0.2
    return SiteSpec(
        name=SiteName(name),
        kind=SiteKind.EDGE,
        jurisdiction=_jurisdiction(place),
        failure_domain=f"grid-{int(place[0] // 50)}-{int(place[1] // 50)}",
        hardware_class="arm" if cores == 2 else "x86",
        price_usd_per_hour=float(random.uniform(0.01, 0.05)),
        capacity=each * count,
        nodes=tuple(NodeSpec(NodeName(f"{name}-{number}"), each) for number in range(count)),
        egress_usd_per_gb=0.4 if metered else 0.02,
        link_in_bps=float(random.choice([2e7, 1e8, 1e9], p=[0.2, 0.5, 0.3])),
        link_out_bps=float(random.choice([1e7, 5e7, 1e9], p=[0.2, 0.5, 0.3])),
        labels=(("metered", "true" if metered else "false"),),
    )


def _legs(
    regions: Sequence[SiteSpec],
    edges: Sequence[SiteSpec],
    region_km: NDArray[np.float64],
    site_km: NDArray[np.float64],
    random: Generator,
) -> list[Leg]:
    legs: list[Leg] = []
    for region, place in zip(regions, region_km, strict=True):
        for other, there in zip(regions, region_km, strict=True):
            distance_km = float(np.hypot(*(place - there)))
            legs.append(_leg(f"front/{region.name}-front", f"region/{other.name}", 0.4, distance_km, 2e9, random))
    for edge, place in zip(edges, site_km, strict=True):
        distances_km = np.hypot(*(region_km - place).T)
        # Last miles differ more than distances do.
        last_mile_ms = float(random.lognormal(1.0, 0.6))
        for at in np.argsort(distances_km, kind="stable")[:REGIONS_PER_SITE]:
            target = f"front/{regions[at].name}-front"
            wide = min(edge.link_in_bps or 1e9, edge.link_out_bps or 1e9)
            legs.append(_leg(f"site/{edge.name}", target, last_mile_ms, float(distances_km[at]), wide, random))
        if random.random() < 0.5:
            legs.append(_leg(f"site/{edge.name}", f"site/{edge.name}", 0.3, 0.0, 1e9, random))
    return legs


def _leg(source: str, target: str, base_ms: float, distance_km: float, bps: float, random: Generator) -> Leg:
    p50_ms = base_ms + distance_km * MS_PER_KM
    p99_ms = p50_ms * float(random.uniform(1.1, 2.0))
    leg = Leg(source, target, p50_ms, p99_ms, bps, bps, 200, float(random.uniform(0, 20)), "made-up")
    return replace(leg, rtt_p95_ms=(p50_ms + p99_ms) / 2, rtt_p99_low_ms=0.95 * p99_ms, rtt_p99_high_ms=1.1 * p99_ms)
