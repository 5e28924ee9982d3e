"""Compiled moves on a plan under construction. One file, since a compiled function does not notice a changed callee.

A move changes replicas and rates through `set_replicas` and `set_rps`, which keep every sum up to date and write a
journal; a move that does not pay is rolled back from it. Random numbers come from a state that the caller seeds.
"""

from typing import NamedTuple

import numpy as np

from orchestrator.placement.search.jit import compiled, part
from orchestrator.placement.search.programme import Flags, Floats, Ints, Programme

NOTHING = 1e-9  # relative: below it a rate or a slack is rounding
BIG = 1 << 40


class State(NamedTuple):
    """A plan and what is left beside it. All arrays are changed in place."""

    replicas: Ints  # [P]
    rps: Floats  # [A]
    load_rps: Floats  # [P]
    unserved_rps: Floats  # [D]
    free_memory: Ints  # [S]
    free_compute: Ints  # [S]
    free_mbps: Floats  # [L]


class Lane(NamedTuple):
    """What one thread of a search needs for itself. `arc_open`: which arcs it may change.

    The journal holds what a move found where it first changed something, arcs as themselves and pairs from A on: never
    more than A + P entries.
    """

    arc_open: Flags  # [A]
    usd: Floats  # [1] what its moves changed the objective by
    split: Floats  # [1] part of a pool's replicas that is paid by the call, as if they could be split
    touched: Ints  # [A + P] the last move that changed it
    move: Ints  # [1]
    journal_index: Ints  # [A + P]
    journal_value: Floats  # [A + P]
    journal_count: Ints  # [1]
    random: "np.typing.NDArray[np.uint64]"  # [1]
    price_usd: Floats  # [D] of the move under way
    gain_usd: Floats  # best arcs of a pair, by what they are worth
    gain_arc: Ints
    item_usd: Floats  # of a site's knapsack: one item for each replica that would pay
    item_pair: Ints
    picked: Ints  # [P] replicas that the knapsack took
    best_usd: Floats  # the knapsack's table
    taken: Flags
    marked: Flags  # [D] affected by the move
    affected: Ints  # [D + 1]
    emptied: Ints  # sites


class Tuning(NamedTuple):
    """How moves are made. Found by trial on the public instances; see benchmarks/placement/README.md."""

    most_sites: int  # emptied by one move
    noise: float  # of prices, as a standard deviation of their logarithm
    pool_share: float  # of moves that close or open a pool's replica
    local_price_share: float  # of moves that price demands by what else could serve them now


@part
def draw(random: "np.typing.NDArray[np.uint64]") -> float:
    """Uniform in [0, 1): splitmix64 (Steele, Lea and Flood, 2014)."""
    z = random[0] + np.uint64(0x9E3779B97F4A7C15)
    random[0] = z
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@part
def draw_below(random: "np.typing.NDArray[np.uint64]", count: int) -> int:
    return int(draw(random) * count)


@part
def replica_usd(programme: Programme, pair: int, count: int) -> float:
    """Of `count` replicas: their price, and what starting or stopping the difference to the running ones costs."""
    more = count - programme.pair_running[pair]
    change = more * programme.pair_start_usd[pair] if more > 0 else -more * programme.pair_stop_usd[pair]
    return count * programme.pair_usd[pair] + change


@part
def next_usd(programme: Programme, pair: int, count: int) -> float:
    """Of one replica more than `count`."""
    if count < programme.pair_running[pair]:
        return programme.pair_usd[pair] - programme.pair_stop_usd[pair]
    return programme.pair_usd[pair] + programme.pair_start_usd[pair]


@part
def _set_rps_unlogged(programme: Programme, state: State, arc: int, rps: float) -> None:
    more = rps - state.rps[arc]
    state.rps[arc] = rps
    state.load_rps[programme.arc_pair[arc]] += more
    state.unserved_rps[programme.arc_demand[arc]] -= more
    for k in range(programme.arc_uses[arc], programme.arc_uses[arc + 1]):
        state.free_mbps[programme.use_link[k]] -= more * programme.use_mbit[k]


@part
def _set_replicas_unlogged(programme: Programme, state: State, pair: int, count: int) -> None:
    more = count - state.replicas[pair]
    site = programme.pair_site[pair]
    state.replicas[pair] = count
    state.free_memory[site] -= more * programme.pair_memory[pair]
    state.free_compute[site] -= more * programme.pair_compute[pair]


@compiled
def begin(lane: Lane) -> None:
    """A new move: nothing is noted yet."""
    lane.move[0] += 1
    lane.journal_count[0] = 0


@part
def _note(lane: Lane, index: int, value: float) -> None:
    if lane.touched[index] != lane.move[0]:
        lane.touched[index] = lane.move[0]
        n = lane.journal_count[0]
        lane.journal_index[n], lane.journal_value[n] = index, value
        lane.journal_count[0] = n + 1


@part
def by_call_usd(programme: Programme, lane: Lane, pair: int) -> float:
    """What a call per second pays of its replica: only in a pool, and only while those count as split."""
    if programme.site_pool[programme.pair_site[pair]]:
        return lane.split[0] * programme.pair_usd[pair] / programme.pair_rps[pair]
    return 0.0


@part
def set_rps(programme: Programme, state: State, lane: Lane, arc: int, rps: float) -> None:
    before = state.rps[arc]
    if before == rps:
        return
    _note(lane, arc, before)
    _set_rps_unlogged(programme, state, arc, rps)
    worth = programme.arc_usd[arc] - programme.demand_penalty_usd[programme.arc_demand[arc]]
    lane.usd[0] += (rps - before) * (worth + by_call_usd(programme, lane, programme.arc_pair[arc]))


@part
def set_replicas(programme: Programme, state: State, lane: Lane, pair: int, count: int) -> None:
    before = state.replicas[pair]
    if before == count:
        return
    _note(lane, len(state.rps) + pair, before)
    _set_replicas_unlogged(programme, state, pair, count)
    cost = replica_usd(programme, pair, count) - replica_usd(programme, pair, before)
    if programme.site_pool[programme.pair_site[pair]]:
        cost -= lane.split[0] * (count - before) * programme.pair_usd[pair]
    lane.usd[0] += cost


@part
def roll_back(programme: Programme, state: State, lane: Lane, usd: float) -> None:
    """To what was when the move began and the lane's sum was `usd`."""
    arcs = len(state.rps)
    for n in range(lane.journal_count[0]):
        index = lane.journal_index[n]
        if index < arcs:
            _set_rps_unlogged(programme, state, index, lane.journal_value[n])
        else:
            _set_replicas_unlogged(programme, state, index - arcs, int(lane.journal_value[n]))
    lane.usd[0] = usd


@part
def room_rps(programme: Programme, state: State, arc: int, slack_rps: float) -> float:
    """What the arc can take of its unserved demand, with `slack_rps` left at the pair."""
    room = min(state.unserved_rps[programme.arc_demand[arc]], slack_rps)
    for k in range(programme.arc_uses[arc], programme.arc_uses[arc + 1]):
        free = state.free_mbps[programme.use_link[k]]
        if free < room * programme.use_mbit[k]:
            room = free / programme.use_mbit[k]
    return max(room, 0.0)


@part
def slack_rps(programme: Programme, state: State, pair: int) -> float:
    return programme.pair_rps[pair] * state.replicas[pair] - state.load_rps[pair]


@part
def fits(programme: Programme, state: State, pair: int) -> bool:
    """Whether the site bears one more replica."""
    site = programme.pair_site[pair]
    return (
        state.free_memory[site] >= programme.pair_memory[pair]
        and state.free_compute[site] >= programme.pair_compute[pair]
    )


@part
def fill(programme: Programme, state: State, lane: Lane, demand: int) -> None:
    """Send the unserved part to replicas that have room, cheapest first."""
    least = NOTHING * programme.demand_rps[demand]
    if state.unserved_rps[demand] <= least:
        return
    split = lane.split[0] > 0
    count = programme.demand_arcs[demand + 1] - programme.demand_arcs[demand]
    for k in range(2 * count if split else count):
        arc = programme.demand_arc[programme.demand_arcs[demand] + k % count]
        pair = programme.arc_pair[arc]
        if split and programme.site_pool[programme.pair_site[pair]] != (k >= count):
            continue  # room in a pool is not free then: other sites come first
        if programme.arc_usd[arc] >= programme.demand_penalty_usd[demand] and not split:
            return
        if state.replicas[pair] == 0 or not lane.arc_open[arc]:
            continue
        slack = slack_rps(programme, state, pair)
        if slack > NOTHING * programme.pair_rps[pair]:
            room = room_rps(programme, state, arc, slack)
            if room > least:
                set_rps(programme, state, lane, arc, state.rps[arc] + room)
                if state.unserved_rps[demand] <= least:
                    return


@part
def open_for(programme: Programme, state: State, lane: Lane, demand: int, noise: float, pool_filled: float) -> None:
    """Serve the rest by opening one replica after the other, each the cheapest per call that it would carry.

    A pool's replica is priced as if it were filled to `pool_filled` at least, since others will share it.
    """
    least = NOTHING * programme.demand_rps[demand]
    penalty_usd = programme.demand_penalty_usd[demand]
    for _ in range(1000):
        if state.unserved_rps[demand] <= least:
            return
        best, best_usd = -1, penalty_usd
        for k in range(programme.demand_arcs[demand], programme.demand_arcs[demand + 1]):
            arc = programme.demand_arc[k]
            if programme.arc_usd[arc] >= best_usd:
                break
            pair = programme.arc_pair[arc]
            if not lane.arc_open[arc] or not fits(programme, state, pair):
                continue
            room = room_rps(programme, state, arc, slack_rps(programme, state, pair) + programme.pair_rps[pair])
            if room <= least:
                continue
            shared = room
            if programme.site_pool[programme.pair_site[pair]]:
                filled = max(pool_filled, lane.split[0])
                shared = max(room, min(filled * programme.pair_rps[pair], programme.pair_rps[pair]))
            usd = next_usd(programme, pair, state.replicas[pair]) / shared + programme.arc_usd[arc]
            if usd < penalty_usd:
                if noise > 0:
                    usd *= 1 + noise * draw(lane.random)
                if usd < best_usd:
                    best, best_usd = arc, usd
        if best < 0:
            return
        pair = programme.arc_pair[best]
        set_replicas(programme, state, lane, pair, state.replicas[pair] + 1)
        room = room_rps(programme, state, best, slack_rps(programme, state, pair))
        set_rps(programme, state, lane, best, state.rps[best] + room)


@part
def trim(programme: Programme, state: State, lane: Lane, pair: int) -> None:
    """Drop replicas that carry nothing, but not a running one that costs more to stop than to keep."""
    needed = max(int(np.ceil(state.load_rps[pair] / programme.pair_rps[pair] - NOTHING)), 0)
    if state.replicas[pair] > needed:
        if programme.pair_stop_usd[pair] > programme.pair_usd[pair]:
            needed = max(needed, min(state.replicas[pair], programme.pair_running[pair]))
        set_replicas(programme, state, lane, pair, needed)


# ---- one site, exactly


@part
def rank_arcs(programme: Programme, state: State, lane: Lane, pair: int, price_usd: Floats, link_usd: Floats) -> int:
    """The pair's arcs that would gain at these prices, most first, into `gain_usd` and `gain_arc`; answers how many."""
    count = 0
    for arc in range(programme.pair_arcs[pair], programme.pair_arcs[pair + 1]):
        demand = programme.arc_demand[arc]
        if not lane.arc_open[arc] or state.unserved_rps[demand] <= NOTHING * programme.demand_rps[demand]:
            continue
        gain = price_usd[demand] - programme.arc_usd[arc]
        for k in range(programme.arc_uses[arc], programme.arc_uses[arc + 1]):
            gain -= link_usd[programme.use_link[k]] * programme.use_mbit[k]
        if gain > 1e-12:
            at = count
            while at > 0 and lane.gain_usd[at - 1] < gain:
                lane.gain_usd[at], lane.gain_arc[at] = lane.gain_usd[at - 1], lane.gain_arc[at - 1]
                at -= 1
            lane.gain_usd[at], lane.gain_arc[at] = gain, arc
            count += 1
    return count


@part
def _items_of(
    programme: Programme,
    state: State,
    lane: Lane,
    pair: int,
    memory: int,
    compute: int,
    price_usd: Floats,
    link_usd: Floats,
    items: int,
) -> int:
    """Adds an item for each replica of the pair that pays when it is filled with the best calls left."""
    count = rank_arcs(programme, state, lane, pair, price_usd, link_usd)
    rps = programme.pair_rps[pair]
    if count == 0 or lane.gain_usd[0] * rps <= next_usd(programme, pair, state.replicas[pair]):
        return items
    most = min(
        memory // programme.pair_memory[pair] if programme.pair_memory[pair] > 0 else BIG,
        compute // programme.pair_compute[pair] if programme.pair_compute[pair] > 0 else BIG,
    )
    at, left = 0, state.unserved_rps[programme.arc_demand[lane.gain_arc[0]]]
    opened = 0
    while opened < most and at < count and items < len(lane.item_usd):
        room, worth = rps, 0.0
        while room > NOTHING * rps and at < count:
            part = min(left, room)
            worth += part * lane.gain_usd[at]
            room -= part
            left -= part
            if left <= NOTHING * rps:
                at += 1
                if at < count:
                    left = state.unserved_rps[programme.arc_demand[lane.gain_arc[at]]]
        worth -= next_usd(programme, pair, state.replicas[pair] + opened)
        if worth <= 0:
            break
        lane.item_usd[items], lane.item_pair[items] = worth, pair
        items += 1
        opened += 1
    return items


@part
def pick_replicas(
    programme: Programme, state: State, lane: Lane, site: int, price_usd: Floats, link_usd: Floats
) -> None:
    """The site's best set of further replicas for what is unserved, at these prices, into `picked`.

    Exact for each pair's calls taken best first, by dynamic programming over memory and compute; on a grid of at most
    GRID steps each, rounded to the safe side, where the units are finer.
    """
    memory, compute = state.free_memory[site], state.free_compute[site]
    items, need_memory, need_compute = 0, 0, 0
    for pair in range(programme.site_pairs[site], programme.site_pairs[site + 1]):
        lane.picked[pair] = 0
        items = _items_of(programme, state, lane, pair, memory, compute, price_usd, link_usd, items)
    for i in range(items):
        need_memory += programme.pair_memory[lane.item_pair[i]]
        need_compute += programme.pair_compute[lane.item_pair[i]]
    if need_memory <= memory and need_compute <= compute:
        for i in range(items):
            lane.picked[lane.item_pair[i]] += 1
        return
    memory_step, compute_step = programme.site_memory_step[site], programme.site_compute_step[site]
    most_memory, width = memory // memory_step, compute // compute_step + 1
    cells = (most_memory + 1) * width
    lane.best_usd[:cells] = 0.0
    for i in range(items):
        pair = lane.item_pair[i]
        rows = -(-programme.pair_memory[pair] // memory_step)
        columns = -(-programme.pair_compute[pair] // compute_step)
        back, table = rows * width + columns, i * cells
        lane.taken[table : table + cells] = False
        for row in range(most_memory, rows - 1, -1):
            for column in range(width - 1, columns - 1, -1):
                cell = row * width + column
                worth = lane.best_usd[cell - back] + lane.item_usd[i]
                if worth > lane.best_usd[cell]:
                    lane.best_usd[cell] = worth
                    lane.taken[table + cell] = True
    cell = cells - 1
    for i in range(items - 1, -1, -1):
        if lane.taken[i * cells + cell]:
            pair = lane.item_pair[i]
            lane.picked[pair] += 1
            cell -= -(-programme.pair_memory[pair] // memory_step) * width
            cell -= -(-programme.pair_compute[pair] // compute_step)


@part
def replan_site(programme: Programme, state: State, lane: Lane, site: int, price_usd: Floats, link_usd: Floats) -> None:
    """Open what `pick_replicas` took, and send it the calls that it was taken for, as far as links bear them."""
    pick_replicas(programme, state, lane, site, price_usd, link_usd)
    for pair in range(programme.site_pairs[site], programme.site_pairs[site + 1]):
        if lane.picked[pair] == 0:
            continue
        set_replicas(programme, state, lane, pair, state.replicas[pair] + lane.picked[pair])
        count = rank_arcs(programme, state, lane, pair, price_usd, link_usd)
        for i in range(count):
            arc = lane.gain_arc[i]
            room = room_rps(programme, state, arc, slack_rps(programme, state, pair))
            if room > NOTHING * programme.demand_rps[programme.arc_demand[arc]]:
                set_rps(programme, state, lane, arc, state.rps[arc] + room)
        trim(programme, state, lane, pair)


# ---- moves


@part
def _mark(lane: Lane, demand: int, affected: int) -> int:
    if not lane.marked[demand]:
        lane.marked[demand] = True
        lane.affected[affected] = demand
        affected += 1
    return affected


@part
def _pick_sites(programme: Programme, lane: Lane, demand: int, most: int) -> int:
    """Up to `most` neighbouring sites of the demand's arcs, pools apart, into `emptied`."""
    first, count = programme.demand_arcs[demand], programme.demand_arcs[demand + 1] - programme.demand_arcs[demand]
    start, found = draw_below(lane.random, count), 0
    for k in range(count):
        arc = programme.demand_arc[first + (start + k) % count]
        site = programme.pair_site[programme.arc_pair[arc]]
        if lane.arc_open[arc] and not programme.site_pool[site]:
            lane.emptied[found] = site
            found += 1
            if found == most:
                break
    return found


@part
def _empty_site(programme: Programme, state: State, lane: Lane, site: int, affected: int) -> int:
    for pair in range(programme.site_pairs[site], programme.site_pairs[site + 1]):
        for arc in range(programme.pair_arcs[pair], programme.pair_arcs[pair + 1]):
            if not lane.arc_open[arc]:
                continue
            demand = programme.arc_demand[arc]
            if state.rps[arc] > 0:
                affected = _mark(lane, demand, affected)
                set_rps(programme, state, lane, arc, 0.0)
            elif state.unserved_rps[demand] > NOTHING * programme.demand_rps[demand]:
                affected = _mark(lane, demand, affected)
        if state.replicas[pair] > 0:
            trim(programme, state, lane, pair)
    return affected


@part
def _release_elsewhere(programme: Programme, state: State, lane: Lane, demand: int, always: bool) -> None:
    """Take the demand's calls back from other sites too: from pools, and by chance (`always`: surely) from others."""
    for k in range(programme.demand_arcs[demand], programme.demand_arcs[demand + 1]):
        arc = programme.demand_arc[k]
        if state.rps[arc] > 0 and lane.arc_open[arc]:
            pair = programme.arc_pair[arc]
            if always or programme.site_pool[programme.pair_site[pair]] or draw(lane.random) < 0.5:
                set_rps(programme, state, lane, arc, 0.0)
                trim(programme, state, lane, pair)


@part
def local_price(programme: Programme, state: State, lane: Lane, demand: int) -> float:
    """What serving one more call would cost now: a replica with room, or a part of a pool's next replica."""
    best = programme.demand_penalty_usd[demand]
    for k in range(programme.demand_arcs[demand], programme.demand_arcs[demand + 1]):
        arc = programme.demand_arc[k]
        if programme.arc_usd[arc] >= best:
            break
        if not lane.arc_open[arc]:
            continue
        pair = programme.arc_pair[arc]
        wanted = min(state.unserved_rps[demand], programme.pair_rps[pair])
        if slack_rps(programme, state, pair) > 0.25 * wanted:
            by_call = by_call_usd(programme, lane, pair)
            if by_call == 0.0:
                return programme.arc_usd[arc]
            best = min(best, programme.arc_usd[arc] + by_call)
        if programme.site_pool[programme.pair_site[pair]] and fits(programme, state, pair):
            opened = 1.1 * next_usd(programme, pair, state.replicas[pair]) / programme.pair_rps[pair]
            best = min(best, programme.arc_usd[arc] + opened)
    return best


@part
def _shuffle(lane: Lane, values: Ints, count: int) -> None:
    for i in range(count - 1, 0, -1):
        k = draw_below(lane.random, i + 1)
        values[i], values[k] = values[k], values[i]


@part
def _rebuild(
    programme: Programme,
    state: State,
    lane: Lane,
    demand_usd: Floats,
    link_usd: Floats,
    emptied: int,
    affected: int,
    tuning: Tuning,
) -> None:
    """Serve the affected demands anew: emptied sites by knapsack at noisy prices, then what has room, then openings."""
    by_state = draw(lane.random) < tuning.local_price_share
    for i in range(affected):
        demand = lane.affected[i]
        price = local_price(programme, state, lane, demand) if by_state else demand_usd[demand]
        # A sum of three uniform numbers, near enough to a normal one with standard deviation 0.5.
        bell = draw(lane.random) + draw(lane.random) + draw(lane.random) - 1.5
        price *= np.exp(2.0 * tuning.noise * bell)
        lane.price_usd[demand] = min(price, programme.demand_penalty_usd[demand])
    if draw(lane.random) < 0.5:
        for i in range(affected):
            fill(programme, state, lane, lane.affected[i])
    _shuffle(lane, lane.emptied, emptied)
    for i in range(emptied):
        replan_site(programme, state, lane, lane.emptied[i], lane.price_usd, link_usd)
    _shuffle(lane, lane.affected, affected)
    for i in range(affected):
        fill(programme, state, lane, lane.affected[i])
    for i in range(affected):
        fill(programme, state, lane, lane.affected[i])
        open_for(programme, state, lane, lane.affected[i], 0.1, 0.0)


@part
def _close_pool_replica(programme: Programme, state: State, lane: Lane, demand: int) -> int:
    """Take calls, the demand's first, from a pool's pair until one replica less carries the rest.

    Answers how many demands are affected.
    """
    first, count = programme.demand_arcs[demand], programme.demand_arcs[demand + 1] - programme.demand_arcs[demand]
    start, chosen = draw_below(lane.random, count), -1
    for k in range(count):
        arc = programme.demand_arc[first + (start + k) % count]
        if (
            state.rps[arc] > 0
            and lane.arc_open[arc]
            and programme.site_pool[programme.pair_site[programme.arc_pair[arc]]]
        ):
            chosen = arc
            break
    if chosen < 0:
        return 0
    pair = programme.arc_pair[chosen]
    target = programme.pair_rps[pair] * (state.replicas[pair] - 1)
    arcs = programme.pair_arcs[pair + 1] - programme.pair_arcs[pair]
    start, affected = draw_below(lane.random, arcs), 0
    for k in range(-1, arcs):
        over = state.load_rps[pair] - target
        if over <= NOTHING * programme.pair_rps[pair]:
            break
        arc = chosen if k < 0 else programme.pair_arcs[pair] + (start + k) % arcs
        if state.rps[arc] <= 0 or not lane.arc_open[arc]:
            continue
        affected = _mark(lane, programme.arc_demand[arc], affected)
        set_rps(programme, state, lane, arc, max(0.0, state.rps[arc] - over) if draw(lane.random) < 0.5 else 0.0)
    trim(programme, state, lane, pair)
    return affected


@part
def _open_pool_replica(programme: Programme, state: State, lane: Lane, demand: int) -> bool:
    """One more replica of a pool that the demand can go to: for calls that nobody serves, then for calls whose move
    empties a replica elsewhere. None of them alone may pay for it."""
    first, count = programme.demand_arcs[demand], programme.demand_arcs[demand + 1] - programme.demand_arcs[demand]
    start, pair = draw_below(lane.random, count), -1
    for k in range(count):
        arc = programme.demand_arc[first + (start + k) % count]
        here = programme.arc_pair[arc]
        if lane.arc_open[arc] and programme.site_pool[programme.pair_site[here]] and fits(programme, state, here):
            pair = here
            break
    if pair < 0:
        return False
    set_replicas(programme, state, lane, pair, state.replicas[pair] + 1)
    arcs = programme.pair_arcs[pair + 1] - programme.pair_arcs[pair]
    start = draw_below(lane.random, arcs)
    for k in range(arcs):
        arc = programme.pair_arcs[pair] + (start + k) % arcs
        demand = programme.arc_demand[arc]
        if lane.arc_open[arc] and state.unserved_rps[demand] > NOTHING * programme.demand_rps[demand]:
            room = room_rps(programme, state, arc, slack_rps(programme, state, pair))
            if room > 0:
                set_rps(programme, state, lane, arc, state.rps[arc] + room)
    start = draw_below(lane.random, arcs)
    for k in range(arcs):
        if slack_rps(programme, state, pair) <= NOTHING * programme.pair_rps[pair]:
            break
        arc = programme.pair_arcs[pair] + (start + k) % arcs
        if lane.arc_open[arc]:
            _pull(programme, state, lane, arc)
    trim(programme, state, lane, pair)
    return True


@part
def _pull(programme: Programme, state: State, lane: Lane, arc: int) -> None:
    """Bring calls of the arc's demand here from a pair that could then do with one replica less."""
    demand, pair = programme.arc_demand[arc], programme.arc_pair[arc]
    slack = slack_rps(programme, state, pair)
    for k in range(programme.demand_arcs[demand], programme.demand_arcs[demand + 1]):
        other = programme.demand_arc[k]
        there = programme.arc_pair[other]
        if there == pair or state.rps[other] <= 0 or not lane.arc_open[other]:
            continue
        over = state.load_rps[there] - programme.pair_rps[there] * (state.replicas[there] - 1)
        if over <= min(state.rps[other] * (1 + NOTHING), slack):
            saved = programme.pair_usd[there] / max(over, NOTHING) + programme.arc_usd[other]
            if saved > programme.arc_usd[arc]:
                set_rps(programme, state, lane, other, max(0.0, state.rps[other] - over))
                trim(programme, state, lane, there)
                room = room_rps(programme, state, arc, slack)
                set_rps(programme, state, lane, arc, state.rps[arc] + room)
                fill(programme, state, lane, demand)
                return


@part
def _move(
    programme: Programme,
    state: State,
    lane: Lane,
    demand: int,
    demand_usd: Floats,
    link_usd: Floats,
    tuning: Tuning,
) -> None:
    """One change around the demand, whatever it is worth."""
    kind, pool_share = draw(lane.random), tuning.pool_share
    if kind < 0.5 * pool_share:
        _open_pool_replica(programme, state, lane, demand)
        return
    affected, emptied = 0, 0
    if kind < pool_share:
        affected = _close_pool_replica(programme, state, lane, demand)
        if affected == 0:
            return
        if draw(lane.random) < 0.5:
            near = lane.affected[draw_below(lane.random, affected)]
            emptied = _pick_sites(programme, lane, near, 1 + draw_below(lane.random, 2))
    else:
        emptied = _pick_sites(programme, lane, demand, 1 + draw_below(lane.random, tuning.most_sites))
    for i in range(emptied):
        affected = _empty_site(programme, state, lane, lane.emptied[i], affected)
    affected = _mark(lane, demand, affected)
    if draw(lane.random) < 0.5:
        for i in range(affected):
            _release_elsewhere(programme, state, lane, lane.affected[i], lane.affected[i] == demand)
    _rebuild(programme, state, lane, demand_usd, link_usd, emptied, affected, tuning)
    for i in range(affected):
        lane.marked[lane.affected[i]] = False


@compiled
def anneal(
    programme: Programme,
    state: State,
    lane: Lane,
    seeds: Ints,
    demand_usd: Floats,
    link_usd: Floats,
    hot_usd: float,
    cold_usd: float,
    tuning: Tuning,
) -> int:
    """A move around each of the demands in `seeds`; answers how many were kept.

    A move that costs `c` is kept with probability exp(-c / temperature); the temperature falls from `hot_usd` to
    `cold_usd` (simulated annealing: Kirkpatrick, Gelatt and Vecchi, 1983). 0: only moves that cost nothing.
    """
    kept, count = 0, len(seeds)
    for i in range(count):
        demand = seeds[i]
        if programme.demand_arcs[demand] == programme.demand_arcs[demand + 1]:
            continue
        before = lane.usd[0]
        begin(lane)
        _move(programme, state, lane, demand, demand_usd, link_usd, tuning)
        cost = lane.usd[0] - before
        temperature = hot_usd * (cold_usd / hot_usd) ** (i / count) if hot_usd > 0 else 0.0
        if cost <= 1e-12 or (temperature > 0 and draw(lane.random) < np.exp(-cost / temperature)):
            kept += 1
        else:
            roll_back(programme, state, lane, before)
    return kept


@compiled
def construct(
    programme: Programme,
    state: State,
    lane: Lane,
    sites: Ints,
    demands: Ints,
    demand_usd: Floats,
    link_usd: Floats,
    pool_filled: float,
) -> None:
    """A first plan: sites in the given order by knapsack at these prices, then demands in the given order."""
    begin(lane)
    for i in range(len(sites)):
        if not programme.site_pool[sites[i]]:
            replan_site(programme, state, lane, sites[i], demand_usd, link_usd)
    for i in range(len(demands)):
        fill(programme, state, lane, demands[i])
        open_for(programme, state, lane, demands[i], 0.0, pool_filled)


@compiled
def empty(programme: Programme, state: State, lane: Lane, site: int) -> int:
    """Take everything from a site; the demands that it served or could serve are `affected`, and counted."""
    begin(lane)
    affected = _empty_site(programme, state, lane, site, 0)
    for i in range(affected):
        lane.marked[lane.affected[i]] = False
    return affected


@compiled
def serve(programme: Programme, state: State, lane: Lane, demands: Ints) -> None:
    """What is unserved of these demands: from room that is there, then by opening replicas. Nothing else changes."""
    for i in range(len(demands)):
        fill(programme, state, lane, demands[i])
        open_for(programme, state, lane, demands[i], 0.0, 0.0)


@compiled
def shrink(programme: Programme, state: State, lane: Lane, demand: int) -> None:
    """Take back what a demand is served beyond its rate, its dearest arcs first; replicas left empty are dropped."""
    begin(lane)
    for k in range(programme.demand_arcs[demand + 1] - 1, programme.demand_arcs[demand] - 1, -1):
        if state.unserved_rps[demand] >= 0:
            return
        arc = programme.demand_arc[k]
        if state.rps[arc] > 0:
            set_rps(programme, state, lane, arc, max(0.0, state.rps[arc] + state.unserved_rps[demand]))
            trim(programme, state, lane, programme.arc_pair[arc])
