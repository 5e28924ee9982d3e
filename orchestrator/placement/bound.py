"""What no placement can beat."""

import math

from orchestrator.model.snapshot import PlacementSettings, Refusal
from orchestrator.model.specs import ServiceSpec, SiteSpec
from orchestrator.placement.candidates import Field
from orchestrator.placement.costs import replica_price
from orchestrator.placement.estimates import replica_rps
from orchestrator.placement.filling import Filling
from orchestrator.placement.rules import Objection, variants_for

BOUND = "cheapest-site relaxation"


def lower_bound_usd_per_hour(
    service: ServiceSpec, sites: list[SiteSpec], seen: Field, filled: Filling, settings: PlacementSettings
) -> float:
    """Of any placement that serves as many calls and holds as many of the wanted replicas as this one does.

    Relaxed: every site that only capacity could refuse takes any number of replicas and any zone's calls. So at least
    as many replicas are needed as the quickest of them carry the calls, and each costs at least the cheapest's price.
    """
    open_sites = [
        site
        for site in sites
        if site.name in seen.candidates
        or ((found := seen.of_site.get(site.name)) and found.reason in (Refusal.MEMORY, Refusal.COMPUTE))
    ]
    offers: list[tuple[float, float]] = []  # price of a replica, its calls per second
    for site in open_sites:
        variants = variants_for(service.version.variants_on(site.hardware_class), service.policy, site.kind)
        if not isinstance(variants, Objection):
            offers += [(replica_price(site, v), replica_rps(v, settings.target_utilisation)) for v in variants]
    if not offers or not filled.replicas:
        return 0.0
    served_rps = sum(filled.used_rps.values())
    cheapest = min(price for price, _ in offers)
    quickest_rps = max(rps for _, rps in offers)
    count = max(math.ceil(served_rps / quickest_rps - 1e-6), min(service.policy.replicas_min, filled.total), 1)
    return max(count * cheapest, served_rps * min(price / rps for price, rps in offers))
