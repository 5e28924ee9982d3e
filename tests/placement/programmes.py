"""Made-up programmes: small fleets with every kind of scarcity, drawn from a seed."""

import numpy as np

from orchestrator.placement.search.programme import Programme, programme


def made_up(
    seed: int, edge_sites: int = 12, pools: int = 2, services: int = 4, zones: int = 5, running: bool = False
) -> Programme:
    """Each zone wants some services and reaches some sites; links, memory and compute are short now and then."""
    random = np.random.default_rng(seed)
    sites = edge_sites + pools
    pool = np.arange(sites) >= edge_sites
    wanted = [(s, z) for s in range(services) for z in range(zones) if random.random() < 0.7] or [(0, 0)]
    rates = random.lognormal(1, 1, len(wanted))
    need_memory, need_compute = random.integers(0, 6, services), random.integers(1, 3, services)
    speed = random.uniform(1, 6, services)
    reach = (random.random((zones, sites)) < 0.5) | pool
    arcs = sorted(
        (site, service, demand)
        for demand, (service, zone) in enumerate(wanted)
        for site in range(sites)
        if reach[zone, site] and random.random() < 0.9
    )
    pairs = sorted({(site, service) for site, service, _ in arcs})
    place = {pair: i for i, pair in enumerate(pairs)}
    pair_site = np.array([site for site, _ in pairs], dtype=np.int64)
    pair_service = np.array([service for _, service in pairs], dtype=np.int64)
    arc_site = np.array([site for site, _, _ in arcs], dtype=np.int64)
    arc_zone = np.array([wanted[demand][1] for _, _, demand in arcs], dtype=np.int64)
    uses = np.stack([arc_site, sites + arc_zone], axis=1).ravel() if arcs else np.zeros(0)
    price = np.where(pool[pair_site], 1.2, 0.3) * need_compute[pair_service]
    return programme(
        site_pool=pool,
        site_memory=np.where(pool, 400, random.integers(0, 16, sites)),
        site_compute=np.where(pool, 100, random.integers(0, 6, sites)),
        pair_site=pair_site,
        pair_service=pair_service,
        pair_rps=speed[pair_service] * np.where(pool[pair_site], 1.5, 1.0),
        pair_usd=price,
        pair_memory=need_memory[pair_service],
        pair_compute=need_compute[pair_service],
        pair_running=random.integers(0, 2, len(pairs)) if running else np.zeros(len(pairs)),
        pair_start_usd=0.2 * price if running else np.zeros(len(pairs)),
        pair_stop_usd=0.05 * price if running else np.zeros(len(pairs)),
        arc_demand=np.array([demand for _, _, demand in arcs], dtype=np.int64),
        arc_pair=np.array([place[site, service] for site, service, _ in arcs], dtype=np.int64),
        arc_usd=random.uniform(0, 0.2, len(arcs)),
        arc_uses=2 * np.arange(len(arcs) + 1),
        use_link=uses,
        use_mbit=random.uniform(0.1, 2, len(uses)),
        link_mbps=np.concatenate((random.uniform(3, 60, sites), random.uniform(10, 200, zones))),
        demand_zone=np.array([zone for _, zone in wanted], dtype=np.int64),
        demand_rps=rates,
        demand_penalty_usd=random.uniform(1, 8, len(wanted)),
    )
