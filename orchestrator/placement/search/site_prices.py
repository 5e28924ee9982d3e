"""Compiled: what a site's memory and compute are worth once demands and links have their prices.

Each replica that could stand there is an item: what it gains with the best calls left, and what it needs. The prices at
which the items gain least, what the capacity is worth included, make the bound tight.
"""

from orchestrator.placement.search.jit import compiled, part
from orchestrator.placement.search.kernels import BIG, next_usd
from orchestrator.placement.search.programme import Floats, Ints, Programme


@part
def rank_all(
    programme: Programme, pair: int, price_usd: Floats, link_usd: Floats, gains_usd: Floats, rates_rps: Floats
) -> int:
    """All calls that would gain at the pair at these prices, most first; answers how many arcs."""
    count = 0
    for arc in range(programme.pair_arcs[pair], programme.pair_arcs[pair + 1]):
        demand = programme.arc_demand[arc]
        gain = price_usd[demand] - programme.arc_usd[arc]
        for k in range(programme.arc_uses[arc], programme.arc_uses[arc + 1]):
            gain -= link_usd[programme.use_link[k]] * programme.use_mbit[k]
        if gain > 0:
            gains_usd[count], rates_rps[count] = gain, programme.demand_rps[demand]
            count += 1
    _sort_falling(gains_usd, rates_rps, count)
    return count


@part
def _sort_falling(keys: Floats, values: Floats, count: int) -> None:
    """Both arrays' first `count`, by falling key: a heap sort, which needs no memory."""
    for end in range(2 * count - 1, 0, -1):
        # First make a heap with the least key on top, from the middle up; then take the top away, from the end down.
        if end >= count:
            root, last = end - count, count
        else:
            keys[0], keys[end] = keys[end], keys[0]
            values[0], values[end] = values[end], values[0]
            root, last = 0, end
        while 2 * root + 1 < last:
            child = 2 * root + 1
            if child + 1 < last and keys[child + 1] < keys[child]:
                child += 1
            if keys[root] <= keys[child]:
                break
            keys[root], keys[child] = keys[child], keys[root]
            values[root], values[child] = values[child], values[root]
            root = child


@part
def site_items(
    programme: Programme,
    site: int,
    price_usd: Floats,
    link_usd: Floats,
    gains_usd: Floats,
    rates_rps: Floats,
    item_usd: Floats,
    item_pair: Ints,
) -> int:
    """What each replica that could stand at the site would gain at most before its memory and compute are paid for.

    `item_usd` must hold as many as the site can bear. Answers how many items pay at all.
    """
    items = 0
    for pair in range(programme.site_pairs[site], programme.site_pairs[site + 1]):
        count = rank_all(programme, pair, price_usd, link_usd, gains_usd, rates_rps)
        memory, compute = programme.pair_memory[pair], programme.pair_compute[pair]
        most = min(
            programme.site_memory[site] // memory if memory > 0 else BIG,
            programme.site_compute[site] // compute if compute > 0 else BIG,
        )
        at, opened = 0, 0
        while at < count and opened < most and items < len(item_usd):
            room, gained = programme.pair_rps[pair], -next_usd(programme, pair, opened)
            while room > 0 and at < count:
                part = min(rates_rps[at], room)
                gained += part * gains_usd[at]
                room -= part
                rates_rps[at] -= part
                if rates_rps[at] <= 0:
                    at += 1
            if gained <= 0:
                break
            item_usd[items], item_pair[items] = gained, pair
            items += 1
            opened += 1
    return items


@part
def priced_out(
    programme: Programme, items: int, item_usd: Floats, item_pair: Ints, memory_usd: float, compute_usd: float
) -> float:
    """What the items still gain once each pays for its memory and compute."""
    total = 0.0
    for i in range(items):
        pair = item_pair[i]
        net = item_usd[i] - memory_usd * programme.pair_memory[pair] - compute_usd * programme.pair_compute[pair]
        total += max(net, 0.0)
    return total


@part
def _gain_at(
    programme: Programme,
    site: int,
    items: int,
    item_usd: Floats,
    item_pair: Ints,
    price_usd: float,
    other_usd: float,
    memory: bool,
) -> float:
    """What the site gains at these prices of its two resources, what its capacity is worth at them included."""
    memory_usd, compute_usd = (price_usd, other_usd) if memory else (other_usd, price_usd)
    return (
        priced_out(programme, items, item_usd, item_pair, memory_usd, compute_usd)
        + memory_usd * programme.site_memory[site]
        + compute_usd * programme.site_compute[site]
    )


@part
def _search_price(
    programme: Programme, site: int, items: int, item_usd: Floats, item_pair: Ints, other_usd: float, memory: bool
) -> tuple[float, float]:
    """The price of one resource at which, the other's given, the site gains least; and what it gains then.

    The gain is convex in the price: golden section would do, thirds are simpler.
    """
    most = 0.0
    for i in range(items):
        need = programme.pair_memory[item_pair[i]] if memory else programme.pair_compute[item_pair[i]]
        if need > 0:
            most = max(most, item_usd[i] / need)
    low, high = 0.0, most
    for _ in range(40):
        third = (high - low) / 3
        left = _gain_at(programme, site, items, item_usd, item_pair, low + third, other_usd, memory)
        right = _gain_at(programme, site, items, item_usd, item_pair, high - third, other_usd, memory)
        if left <= right:
            high -= third
        else:
            low += third
    middle = 0.5 * (low + high)
    free = _gain_at(programme, site, items, item_usd, item_pair, 0.0, other_usd, memory)
    priced = _gain_at(programme, site, items, item_usd, item_pair, middle, other_usd, memory)
    return (0.0, free) if free <= priced else (middle, priced)


@compiled
def price_sites(
    programme: Programme,
    first: int,
    last: int,
    price_usd: Floats,
    link_usd: Floats,
    memory_usd: Floats,
    compute_usd: Floats,
    gain_usd: Floats,
    gains: Floats,
    rates: Floats,
    item_usd: Floats,
    item_pair: Ints,
) -> None:
    """Of sites `first` up to `last`: prices of memory and compute that make the bound tight, given those of demands and
    links; in place. `gain_usd` is what each site gains at most, its capacity at these prices included. The last four
    are room to work in: `gains` and `rates` for a pair's arcs, the others for a site's replicas."""
    for site in range(first, last):
        items = site_items(programme, site, price_usd, link_usd, gains, rates, item_usd, item_pair)
        memory, compute = memory_usd[site], compute_usd[site]
        best = (
            priced_out(programme, items, item_usd, item_pair, memory, compute)
            + memory * programme.site_memory[site]
            + compute * programme.site_compute[site]
        )
        for _ in range(3):
            price, gain = _search_price(programme, site, items, item_usd, item_pair, memory, False)
            if gain < best:
                compute, best = price, gain
            price, gain = _search_price(programme, site, items, item_usd, item_pair, compute, True)
            if gain < best:
                memory, best = price, gain
        memory_usd[site], compute_usd[site], gain_usd[site] = memory, compute, best
