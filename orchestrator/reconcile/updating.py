"""Another version at the same site: beside the old replica where there is room, else in its place.

In place the site is without that replica for a while, so it is never done where memory allows both, one replica of a
site after the other, and only if the policy lets it.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import NodeName, SiteName
from orchestrator.model.resources import Resources
from orchestrator.model.specs import PolicySpec, ServiceSpec, SiteKind, SiteSpec, VariantSpec
from orchestrator.reconcile.observed import LIVE

Places = dict[tuple[SiteName, NodeName | None], Resources]


@dataclass(frozen=True, slots=True)
class UpdateRules:
    """How one service's replicas change. `max_surge`: of one site, so many beyond those wanted; None: what fits.

    `single_writer`: never two replicas at a time, wherever they are.
    """

    in_place: bool = True
    max_surge: int | None = None
    single_writer: bool = False


def rules_of(policy: PolicySpec) -> UpdateRules:
    if policy.single_writer:
        return UpdateRules(in_place=True, max_surge=0, single_writer=True)
    return UpdateRules(policy.in_place, policy.max_surge)


def succeeded(
    claims: Sequence[Claim], services: Iterable[ServiceSpec], sites: Iterable[SiteSpec], cordoned: Set[NodeName]
) -> tuple[Claim, ...]:
    """The claims as the planner is to see them: a replica that its successor can only replace counts as that successor.

    Also where the policy lets none make way: the planner would find no place for the service, and give up what runs.

    Where both fit the planner finds the room itself. `sites` with what they have; on `cordoned` nodes nothing starts.
    """
    specs = {service.ref: service for service in services}
    places = {site.name: site for site in sites}
    free = _free(claims, places.values())
    found: list[Claim] = []
    for claim in sorted(claims, key=lambda claim: claim.id):
        place, hold = (claim.site, claim.node), claim.hold
        spec = specs.get(hold.service) if isinstance(hold, ReplicaHold) and claim.phase in LIVE else None
        if spec is None or not isinstance(hold, ReplicaHold) or place not in free:
            found.append(claim)
            continue
        new = _successor(hold, spec, places[claim.site])
        if new is None:
            found.append(claim)
        elif new.need.fits_in(free[place]) and rules_of(spec.policy).max_surge != 0 and claim.node not in cordoned:
            free[place] -= new.need
            found.append(claim)
        elif new.need.fits_in(free[place] + claim.need):
            free[place] += claim.need - new.need
            after = ReplicaHold(hold.service, spec.version.ref, new.variant, new.digest)
            found.append(replace(claim, need=new.need, hold=after))
        else:
            found.append(claim)
    return tuple(found)


def _free(claims: Iterable[Claim], sites: Iterable[SiteSpec]) -> Places:
    free: Places = {}
    for site in sites:
        if site.kind is SiteKind.REGION:
            free[site.name, None] = site.capacity
        free |= {(site.name, node.name): node.capacity for node in site.nodes}
    for claim in claims:
        if (claim.site, claim.node) in free:
            free[claim.site, claim.node] -= claim.need
    return free


def _successor(hold: ReplicaHold, spec: ServiceSpec, site: SiteSpec) -> VariantSpec | None:
    """What would take its place: the same variant of the wanted version, else its smallest. None: it is wanted."""
    if hold.version == spec.version.ref:
        return None
    variants = spec.version.variants_on(site.hardware_class)
    same = [one for one in variants if one.variant == hold.variant]
    return min(same or variants, key=lambda one: (one.need.memory_bytes, one.variant), default=None)
