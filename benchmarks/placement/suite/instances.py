"""A snapshot from a size and a seed, the same to the bit each time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.placement.suite.places import SIZES, Places, Size, places
from benchmarks.placement.suite.running import claims
from benchmarks.placement.suite.wishes import quotas, services
from orchestrator.model.ids import ServiceRef, ZoneName
from orchestrator.model.snapshot import PlacementSettings, Snapshot
from orchestrator.model.specs import ServiceSpec, SiteKind, SiteSpec

SETTINGS = PlacementSettings()
FREEZE = "Fri 16:00-Mon 06:00 Europe/Berlin"
FROZEN = 2  # the service that is in a freeze


def instance(size: Size | str, seed: int) -> Snapshot:
    """`size`: a name of SIZES, or a size of one's own."""
    of = SIZES[size] if isinstance(size, str) else size
    random = np.random.Generator(np.random.PCG64(seed))
    at = places(of, random)
    wanted = services(of.services, at, random)
    wanted = tuple(replace(one, freeze=FREEZE) if number == FROZEN else one for number, one in enumerate(wanted))
    held = claims(at.sites, wanted, _open_to(wanted, at), SETTINGS, random)
    return Snapshot(at.sites, wanted, at.paths, held, quotas(wanted, SETTINGS.target_utilisation))


def _open_to(wanted: Sequence[ServiceSpec], at: Places) -> Mapping[ServiceRef, Sequence[SiteSpec]]:
    """Sites that a path leads to and whose own rules bear the service: where it may have been running."""
    reached: dict[ZoneName, set[str]] = {}
    for path in at.paths:
        reached.setdefault(path.zone, set()).add(path.site)
    found: dict[ServiceRef, Sequence[SiteSpec]] = {}
    for service in wanted:
        policy = service.policy
        near = set().union(*(reached.get(demand.zone, set()) for demand in service.demands))
        shut = policy.bans | {rule.site for rule in service.rules if rule.failed_requirement}
        found[service.ref] = [
            site
            for site in at.sites
            if site.name in near - shut
            and (policy.jurisdictions is None or site.jurisdiction in policy.jurisdictions)
            and (policy.burst_to_cloud or site.kind is SiteKind.EDGE)
        ]
    return found
