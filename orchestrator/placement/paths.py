"""Paths made of measured legs. What was not measured is not a path."""

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.model.ids import FrontName, SiteName
from orchestrator.model.legs import Leg, Path, PathKind
from orchestrator.model.specs import SiteKind, SiteSpec, ZoneSpec

_Ends = tuple[str, str]


def compose(
    zones: Sequence[ZoneSpec],
    sites: Sequence[SiteSpec],
    legs: Sequence[Leg],
    front_regions: Mapping[FrontName, str],
) -> tuple[Path, ...]:
    """All paths from each zone to each site, ordered by zone and site.

    A zone of a site reaches that site by LAN. A zone of a region enters at that region's fronts: it reaches an edge
    site by relay over the leg that its agent measured to a front ("site/S" -> "front/F"), and a region directly over
    the leg that a front measured ("front/F" -> "region/R"). Each front that was measured is a path of its own: the
    planner takes the best that a policy's limits accept.
    """
    measured = {(leg.source, leg.target): leg for leg in sorted(legs, key=_oldest_first)}
    by_name = {site.name: site for site in sites}
    found: list[Path] = []
    for zone in sorted(zones, key=lambda zone: zone.name):
        if zone.site is not None:
            found += _lan(zone, zone.site, by_name, measured)
        elif zone.region is not None:
            fronts = sorted(front for front, region in front_regions.items() if region == zone.region)
            found += _over_fronts(zone, zone.region, fronts, by_name, measured)
    return tuple(found)


def _lan(
    zone: ZoneSpec, name: SiteName, sites: Mapping[SiteName, SiteSpec], measured: Mapping[_Ends, Leg]
) -> Iterator[Path]:
    """A LAN nobody measured counts as no distance: its callers stand beside the node."""
    if name in sites and sites[name].kind is SiteKind.EDGE:
        leg = measured.get((f"site/{name}", f"site/{name}"))
        yield Path(zone.name, name, PathKind.LAN, (leg,) if leg else ())


def _over_fronts(
    zone: ZoneSpec,
    region: SiteName,
    fronts: Sequence[FrontName],
    sites: Mapping[SiteName, SiteSpec],
    measured: Mapping[_Ends, Leg],
) -> Iterator[Path]:
    for name in sorted(sites):
        if sites[name].kind is SiteKind.EDGE:
            kind, ends = PathKind.RELAY, [(f"site/{name}", f"front/{front}") for front in fronts]
        else:
            kind, ends = PathKind.DIRECT, [(f"front/{front}", f"region/{name}") for front in fronts]
        for end in ends:
            if end in measured:
                yield Path(zone.name, name, kind, (measured[end],), transit=region)


def _oldest_first(leg: Leg) -> tuple[object, ...]:
    """Of two estimates of one leg the newest wins, whatever order they come in."""
    return (leg.source, leg.target, -leg.age_s, leg.samples, leg.rtt_p99_ms, leg.rtt_p50_ms)
