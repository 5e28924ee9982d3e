"""Which services, sites and zones a picture shows one by one, and which are merged."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from orchestrator.cli.picture.graph import Kind
from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.view import FlowView, ServiceView, SiteView, ZoneView

MOST_SITES = {Kind.EDGE: 12, Kind.REGION: 6}
MOST_ZONES = 10
MOST_REFUSED = 5
SEEN = 0.005  # of a share


@dataclass(frozen=True, slots=True)
class Shown:
    """Which node stands for which site and zone."""

    sites: Mapping[SiteName, str]
    zones: Mapping[ZoneName, str]
    refused: frozenset[SiteName]


def importance(service: ServiceView) -> tuple[bool, bool, float, str]:
    """Unserved calls first, then changes, then most calls."""
    changes = any(one.starts or one.stops for one in service.replicas)
    moves = any(abs(one.share - one.share_before) > SEEN for one in service.flows)
    return (not service.unserved, not (changes or moves), -rate_of(service.flows), str(service.service))


def rate_of(flows: Iterable[FlowView]) -> float:
    return sum(one.rate_rps for one in flows)


def kind_of(name: SiteName, known: Mapping[SiteName, SiteView]) -> Kind:
    site = known.get(name)
    return Kind(site.kind) if site else Kind.EDGE


def jurisdiction_of(name: SiteName, known: Mapping[SiteName, SiteView]) -> str:
    return known[name].jurisdiction if name in known else "no longer there"


def relay_of(flow: FlowView, known: Mapping[SiteName, SiteView], homes: Mapping[ZoneName, ZoneView]) -> SiteName | None:
    """Of a way that nobody measures any more: the zone's region, since edge sites are reached by relay."""
    return flow.relay or (homes[flow.zone].region if kind_of(flow.site, known) is Kind.EDGE else None)


def shown_of(
    services: Sequence[ServiceView], known: Mapping[SiteName, SiteView], homes: Mapping[ZoneName, ZoneView]
) -> Shown:
    """Sites that change and that take most calls one by one, the others by jurisdiction; as many zones as fit."""
    changed, rates_rps = Counter[SiteName](), defaultdict[SiteName, float](float)
    held: set[SiteName] = set()
    for service in services:
        for replicas in service.replicas:
            held.add(replicas.site)
            changed[replicas.site] += replicas.starts + replicas.stops
        for flow in service.flows:
            relay = relay_of(flow, known, homes)
            for site in {flow.site, relay or flow.site}:
                held.add(site)
                rates_rps[site] += flow.rate_rps
    sites: dict[SiteName, str] = {}
    for kind, most in MOST_SITES.items():
        ranked = sorted(
            (name for name in held if kind_of(name, known) is kind),
            key=lambda name: (not changed[name], -rates_rps[name], name),
        )
        alone = ranked if len(ranked) <= most else ranked[: most - 1]
        sites |= {name: f"site/{name}" for name in alone}
        sites |= {name: f"more/{kind}/{jurisdiction_of(name, known)}" for name in ranked[len(alone) :]}
    refused = frozenset(_refused(services, set(held), homes))
    sites |= {name: f"site/{name}" for name in refused}
    return Shown(sites, dict(_zone_keys(services, homes, sites)), refused)


def _refused(
    services: Sequence[ServiceView], held: set[SiteName], homes: Mapping[ZoneName, ZoneView]
) -> Iterator[SiteName]:
    """The sites of callers that nobody serves, then the nearest of each service in turn."""
    alone = [homes[one.zone].site for service in services for one in service.unserved]
    nearest = [one.nearest.site for service in services for one in service.unserved if one.nearest]
    in_turn = chain.from_iterable(zip_longest(*([one.site for one in service.refused] for service in services)))
    found = [name for name in dict.fromkeys(chain(alone, nearest, in_turn)) if name and name not in held]
    yield from found[:MOST_REFUSED]


def _zone_keys(
    services: Sequence[ServiceView], homes: Mapping[ZoneName, ZoneView], sites: Mapping[SiteName, str]
) -> Iterator[tuple[ZoneName, str]]:
    """Zones of one LAN are one node; of the others those that lack most and call most are alone."""
    lost, rates_rps = defaultdict[ZoneName, float](float), defaultdict[ZoneName, float](float)
    for service in services:
        for one in service.unserved:
            lost[one.zone] += one.rate_rps
        for flow in service.flows:
            rates_rps[flow.zone] += flow.rate_rps
    ranked: list[ZoneName] = []
    for name in sorted(lost.keys() | rates_rps.keys(), key=lambda name: (-lost[name], -rates_rps[name], name)):
        home = homes[name].site
        if home is not None and home in sites:
            yield name, f"lan/{sites[home]}"
        else:
            ranked.append(name)
    alone = ranked if len(ranked) <= MOST_ZONES else ranked[: MOST_ZONES - 1]
    for name in ranked:
        yield name, f"zone/{name}" if name in alone else f"zones/{sites.get(homes[name].region or SiteName(''), '')}"
