"""Sites at which a service lost replicas, as its status keeps them, for its policy's `disconnect.on_return`."""

from collections.abc import Mapping

from orchestrator.control.rollouts import asked_of
from orchestrator.control.world import World
from orchestrator.model.ids import ServiceRef, SiteName
from orchestrator.model.stored import Json, StoredObject


def lost_in(service: StoredObject, world: World) -> frozenset[SiteName]:
    """Forgotten once somebody changes the service or its policy."""
    found = service.status.get("lost")
    if not isinstance(found, dict) or found.get("asked") != asked_of(service, world):
        return frozenset()
    sites = found.get("sites")
    return frozenset(SiteName(str(site)) for site in (sites if isinstance(sites, list) else []))


def all_lost(world: World) -> dict[ServiceRef, frozenset[SiteName]]:
    found = {ServiceRef(one.key.namespace, one.key.name): lost_in(one, world) for one in world.of("ModelService")}
    return {service: sites for service, sites in found.items() if sites}


def lost_json(service: StoredObject, world: World, sites: frozenset[SiteName]) -> dict[str, Json]:
    """The part of its status; nothing for almost all."""
    kept: Mapping[str, Json] = {"asked": asked_of(service, world), "sites": [str(site) for site in sorted(sites)]}
    return {"lost": dict(kept)} if sites else {}
