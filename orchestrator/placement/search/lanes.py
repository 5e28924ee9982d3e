"""Two halves of a programme that two threads may change at once, cut anew for each round.

A lane owns zones, and with them the sites, pools and links that its zones use most. An arc that crosses is frozen for
the round: neither lane changes it. So no two threads touch the same number, the outcome does not depend on which is
quicker, and what was at the border in one round lies inside a lane in the next.
"""

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.spatial.distance import squareform

from orchestrator.placement.search.programme import Flags, Floats, Indices, Ints, Programme

LANES = 2
# Clustering takes a full matrix of zones; beyond this many a bandwidth-reducing order has to do.
MOST_CLUSTERED = 3000


@dataclass(frozen=True, slots=True)
class Lanes:
    """One cut: each lane's open arcs and its demands."""

    arc_open: tuple[Flags, ...]
    demands: tuple[Ints, ...]
    open_share: float


def zone_order(programme: Programme) -> Ints:
    """Zones such that those that use the same sites lie near each other."""
    zones = int(programme.demand_zone.max()) + 1 if programme.demands else 0
    if zones < 3:
        return np.arange(zones)
    site = programme.pair_site[programme.arc_pair]
    edge = ~programme.site_pool[site]
    zone = programme.demand_zone[programme.arc_demand]
    uses = coo_array(
        (np.ones(int(edge.sum())), (zone[edge], site[edge])), shape=(zones, len(programme.site_memory))
    ).tocsr()
    together = (uses @ uses.T).tocsr()
    if zones > MOST_CLUSTERED:
        return np.asarray(reverse_cuthill_mckee(together, symmetric_mode=True), dtype=np.int64)
    dense = together.toarray()
    size = np.sqrt(np.maximum(np.diag(dense), 1e-9))
    distance = np.clip(1 - dense / np.outer(size, size), 0, 1)
    np.fill_diagonal(distance, 0)
    return np.asarray(leaves_list(linkage(squareform(distance, checks=False), "average")), dtype=np.int64)


def cut(programme: Programme, order: Ints, start: float) -> Lanes:
    """Halves of the circle of zones in `order`, the first beginning at the part `start` of it."""
    weight = np.bincount(programme.demand_zone, np.diff(programme.demand_arcs) + 1, len(order))
    around = np.cumsum(weight[order]) / max(weight.sum(), 1) + start
    lane_of_zone = np.empty(len(order), dtype=np.int64)
    lane_of_zone[order] = np.floor(around * LANES).astype(np.int64) % LANES
    demand_lane = lane_of_zone[programme.demand_zone]
    arc_lane = demand_lane[programme.arc_demand]
    site = programme.pair_site[programme.arc_pair]
    open_arc = _owner(site, arc_lane, len(programme.site_memory))[site] == arc_lane
    user = np.repeat(np.arange(programme.arcs), np.diff(programme.arc_uses))
    link_lane = _owner(programme.use_link, arc_lane[user], len(programme.link_mbps))
    crosses = link_lane[programme.use_link] != arc_lane[user]
    open_arc[user[crosses]] = False
    return Lanes(
        arc_open=tuple(open_arc & (arc_lane == lane) for lane in range(LANES)),
        demands=tuple(np.nonzero(demand_lane == lane)[0] for lane in range(LANES)),
        open_share=float(open_arc.mean()) if len(open_arc) else 1.0,
    )


def whole(programme: Programme) -> Lanes:
    """One lane that may change everything."""
    return Lanes((np.ones(programme.arcs, dtype=np.bool_),), (np.arange(programme.demands),), 1.0)


def _owner(index: Ints | Indices, lane: Ints, count: int) -> Ints:
    """The lane that most uses of each index come from; the least one of equals."""
    counts: Floats = np.stack([np.bincount(index[lane == one], minlength=count) for one in range(LANES)])
    return np.asarray(counts.argmax(axis=0), dtype=np.int64)
