"""What is left of links while one decision hands it out, also for the day on which a site is gone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from orchestrator.model.ids import SiteName
from orchestrator.model.legs import Path, PathKind
from orchestrator.model.specs import DemandSpec, SiteSpec

Link: TypeAlias = tuple[str, ...]  # what calls share: ("wan", zone), ("in", site), ("leg", source, target, "up")


# What one call puts on a link, in bits, and the link's limit; None: nobody measured or declared one. A bare tuple: a
# plan of a large fleet makes a million.
Load: TypeAlias = tuple[Link, float, float | None]


class Room(NamedTuple):
    """What is left of a link that one call loads with `call_bits`."""

    link: Link
    call_bits: float
    bps: float


@dataclass(slots=True)
class Links:
    """Bits per second by link and by the site that the calls go to, and what is kept free for each site's loss.

    When a site is gone its calls no longer load the links, and what was kept free for that day does.
    """

    sites: Mapping[SiteName, SiteSpec]
    used_bps: dict[Link, dict[SiteName, float]] = field(default_factory=dict)
    spare_bps: dict[Link, dict[SiteName, float]] = field(default_factory=dict)  # by the site that would be gone

    def room_rps(self, path: Path, demand: DemandSpec, wan_bps: float | None, lost: SiteName | None = None) -> float:
        """Calls per second that the path still bears today and on any day planned for; or once `lost` is gone."""
        rooms = [room.bps / room.call_bits for room in self.rooms(path, demand, wan_bps, lost)]
        return max(min(rooms, default=float("inf")), 0.0)

    def rooms(self, path: Path, demand: DemandSpec, wan_bps: float | None, lost: SiteName | None = None) -> list[Room]:
        """Of each of the path's links that has a limit and that calls load."""
        return [
            Room(link, call_bits, limit_bps - self._taken_bps(link, path.site, lost))
            for link, call_bits, limit_bps in self._loads(path, demand, wan_bps)
            if limit_bps and call_bits
        ]

    def _taken_bps(self, link: Link, site: SiteName, lost: SiteName | None) -> float:
        """On the worst day for `site` that is planned for; or once `lost` is gone."""
        used, spare = self.used_bps.get(link, {}), self.spare_bps.get(link, {})
        if not used and not spare:
            return 0.0
        total = sum(used.values())
        if lost:
            return total - used.get(lost, 0.0) + spare.get(lost, 0.0)
        return max([total, *(total - used.get(gone, 0.0) + more for gone, more in spare.items() if gone != site)])

    def send(self, path: Path, demand: DemandSpec, rate_rps: float) -> None:
        """Record calls on a path."""
        for link, call_bits, _ in self._loads(path, demand, None):
            used = self.used_bps.setdefault(link, {})
            used[path.site] = used.get(path.site, 0.0) + call_bits * rate_rps

    def keep_free(self, path: Path, demand: DemandSpec, rate_rps: float, lost: SiteName) -> None:
        """Record calls that take this path once `lost` is gone."""
        for link, call_bits, _ in self._loads(path, demand, None):
            spare = self.spare_bps.setdefault(link, {})
            spare[lost] = spare.get(lost, 0.0) + call_bits * rate_rps

    def copy(self) -> "Links":
        used = {link: dict(by_site) for link, by_site in self.used_bps.items()}
        spare = {link: dict(by_site) for link, by_site in self.spare_bps.items()}
        return Links(self.sites, used, spare)

    def _loads(self, path: Path, demand: DemandSpec, wan_bps: float | None) -> list[Load]:
        request_bits, response_bits = 8.0 * demand.request_bytes, 8.0 * demand.response_bytes
        call_bits, loads = request_bits + response_bits, list[Load]()
        site = self.sites.get(path.site)
        if path.kind is not PathKind.LAN:
            loads.append((("wan", path.zone), call_bits, wan_bps))
            loads.append((("in", path.site), request_bits, site.link_in_bps if site else None))
            loads.append((("out", path.site), response_bits, site.link_out_bps if site else None))
        region = self.sites.get(path.transit) if path.transit else None
        for front in path.fronts:
            loads.append((("front", front), call_bits, region.front_bps if region else None))
        for leg, (request_bps, response_bps) in zip(path.legs, path.legs_bps, strict=True):
            loads.append((("leg", leg.source, leg.target, "request"), request_bits, request_bps))
            loads.append((("leg", leg.source, leg.target, "response"), response_bits, response_bps))
        return loads
