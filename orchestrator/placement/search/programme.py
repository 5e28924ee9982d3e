"""The placement programme in arrays: which replicas where, and which calls to them, at least cost.

Minimise  sum pair_usd * x  +  start and stop cost  +  sum arc_usd * q  +  sum demand_penalty_usd * unserved  over
integer replicas `x` of each pair and rates `q` of each arc, subject to: what a demand's arcs carry and what is unserved
add up to its rate; a pair carries at most `pair_rps * x`; a site's memory and compute; each link's throughput.

A *pair* is a service at a site, an *arc* one demand's calls to one pair. An arc exists only where labels, residency,
hardware and the latency objective allow it: rules are kept by leaving arcs out.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Indices: TypeAlias = NDArray[np.int32]
Flags: TypeAlias = NDArray[np.bool_]

# The exact knapsack of a site works on at most this many steps of memory, and of compute.
GRID = 64
# Where nothing limits a number of replicas.
MANY = 1 << 40


class Programme(NamedTuple):
    """S sites, P pairs ordered by site, A arcs ordered by pair, D demands, L links.

    Ranges are in compressed form: the pairs of site s are `site_pairs[s]` up to `site_pairs[s + 1]`.
    A named tuple, since that is what compiled code takes.
    """

    site_pool: Flags  # [S] a region's pool, which takes replicas by quota and is not emptied as a whole
    site_memory: Ints  # [S] in any unit, the same for pairs
    site_compute: Ints  # [S]
    site_memory_step: Ints  # [S] of the knapsack's grid, at least 1
    site_compute_step: Ints  # [S]
    site_pairs: Ints  # [S + 1]
    pair_site: Indices  # [P]
    pair_service: Indices  # [P]
    pair_rps: Floats  # [P] calls per second of one replica at target utilisation
    pair_usd: Floats  # [P] per replica and hour
    pair_memory: Ints  # [P]
    pair_compute: Ints  # [P]
    pair_running: Ints  # [P] replicas that run now
    pair_start_usd: Floats  # [P] for each beyond those, spread over the horizon
    pair_stop_usd: Floats  # [P] for each below those
    pair_arcs: Ints  # [P + 1]
    arc_demand: Indices  # [A]
    arc_pair: Indices  # [A]
    arc_usd: Floats  # [A] per hour and call per second: egress, and what the latency is worth
    arc_uses: Ints  # [A + 1] ranges of the two below
    use_link: Indices  # [U]
    use_mbit: Floats  # [U] of one call on that link
    link_mbps: Floats  # [L]
    demand_zone: Indices  # [D]
    demand_rps: Floats  # [D]
    demand_penalty_usd: Floats  # [D] per hour and unserved call per second
    demand_arcs: Ints  # [D + 1] ranges of the one below
    demand_arc: Indices  # [A] a demand's arcs, cheapest first

    @property
    def arcs(self) -> int:
        return len(self.arc_usd)

    @property
    def demands(self) -> int:
        return len(self.demand_rps)


def most_replicas(programme: Programme, pairs: "Ints | Indices") -> Ints:
    """That each of these pairs' sites bears of it alone; a resource that a replica does not need does not count."""
    site = programme.pair_site[pairs]
    most = np.full(len(pairs), MANY, dtype=np.int64)
    for has, need in (
        (programme.site_memory[site], programme.pair_memory[pairs]),
        (programme.site_compute[site], programme.pair_compute[pairs]),
    ):
        most = np.where(need > 0, np.minimum(most, has // np.maximum(need, 1)), most)
    return most


class Prices(NamedTuple):
    """What one more unit would be worth. Any non-negative prices give a lower bound; good ones a tight one."""

    demand_usd: Floats  # [D] per hour and call per second
    link_usd: Floats  # [L] per hour and Mbit/s
    memory_usd: Floats  # [S] per hour and unit
    compute_usd: Floats  # [S] per hour and unit


@dataclass(frozen=True, slots=True)
class Plan:
    """Replicas of each pair and rate of each arc; `usd_per_hour` is the programme's objective."""

    replicas: Ints  # [P]
    rps: Floats  # [A]
    usd_per_hour: float


class InvalidProgramme(ValueError):
    """Arrays that do not fit together, or values that no programme can hold; the message names array and place."""


def programme(**arrays: NDArray[Any]) -> Programme:
    """From the arrays that describe it; those that follow from others (ranges, steps, order) are made here.

    Raises InvalidProgramme for NaN, infinite or negative values, for indices out of range and for pairs or arcs that
    are not in order.
    """
    sites, pairs = len(arrays["site_memory"]), len(arrays["pair_site"])
    demands, arcs = len(arrays["demand_rps"]), len(arrays["arc_pair"])
    zeros = np.zeros(pairs)
    given = {"pair_running": zeros, "pair_start_usd": zeros, "pair_stop_usd": zeros} | arrays
    _check(given, sites, pairs, demands, len(arrays["link_mbps"]))
    cheapest_first = np.lexsort((np.arange(arcs), given["arc_usd"], given["arc_demand"]))
    made = {
        "site_memory_step": np.maximum(-(-given["site_memory"].astype(np.int64) // GRID), 1),
        "site_compute_step": np.maximum(-(-given["site_compute"].astype(np.int64) // GRID), 1),
        "site_pairs": _ranges(given["pair_site"], sites),
        "pair_arcs": _ranges(given["arc_pair"], pairs),
        "demand_arcs": _ranges(np.sort(given["arc_demand"]), demands),
        "demand_arc": cheapest_first,
    }
    kinds = Programme.__annotations__
    types = {Flags: np.bool_, Floats: np.float64, Ints: np.int64, Indices: np.int32}
    return Programme(
        **{name: np.ascontiguousarray((given | made)[name], dtype=types[kinds[name]]) for name in Programme._fields}
    )


def _ranges(owner: NDArray[Any], count: int) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=count)))).astype(np.int64)


def _check(given: dict[str, NDArray[Any]], sites: int, pairs: int, demands: int, links: int) -> None:
    missing = set(Programme._fields) - given.keys()
    missing -= {"site_memory_step", "site_compute_step", "site_pairs", "pair_arcs", "demand_arcs", "demand_arc"}
    if missing:
        raise InvalidProgramme(f"{', '.join(sorted(missing))}: missing")
    lengths = {"site": sites, "pair": pairs, "demand": demands, "link": links}
    for name, values in given.items():
        expected = lengths.get(name.partition("_")[0])
        if expected is not None and len(values) != expected:
            raise InvalidProgramme(f"{name}: {len(values)} values for {expected} {name.partition('_')[0]}s")
        bad = ~np.isfinite(values) | (np.asarray(values) < 0)
        if bad.any():
            at = int(np.argmax(bad))
            raise InvalidProgramme(f"{name}[{at}]: {values[at]} is not a number of at least 0")
    for name, count in (
        ("pair_site", sites),
        ("arc_pair", pairs),
        ("arc_demand", demands),
        ("use_link", links),
    ):
        if len(given[name]) and int(given[name].max()) >= count:
            raise InvalidProgramme(f"{name}: {int(given[name].max())} is out of range: there are {count}")
    for name in ("pair_site", "arc_pair", "arc_uses"):
        if (np.diff(given[name]) < 0).any():
            raise InvalidProgramme(f"{name}: not in ascending order at {int(np.argmax(np.diff(given[name]) < 0)) + 1}")
    arcs, uses = len(given["arc_pair"]), len(given["use_link"])
    if len(given["arc_uses"]) != arcs + 1 or given["arc_uses"][0] != 0 or given["arc_uses"][-1] != uses:
        raise InvalidProgramme(f"arc_uses: must run from 0 to {uses} in {arcs + 1} values")
    for name in ("pair_rps", "demand_rps", "link_mbps"):
        if (given[name] <= 0).any():
            raise InvalidProgramme(f"{name}[{int(np.argmax(given[name] <= 0))}]: must be above 0")
