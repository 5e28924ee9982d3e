"""A placement as tables: what was chosen and why, over which measured legs, what was refused and what would help.

Reads the JSON forms of ServiceDecision and Snapshot (orchestrator/model/snapshot.py), as `explain` carries them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.pictures import add, mapping, percent, table, word
from orchestrator.cli.refusals import cells, counts_section, refused_section, remedies_section
from orchestrator.cli.rows import figure, items

if TYPE_CHECKING:
    from orchestrator.cli.client import Json

ARROW = "──▶"


def _legs(paths: "Sequence[Mapping[str, Json]]", zone: "Json", site: "Json") -> list[str]:
    """How the zone reaches the site: each leg with round trips, throughput and the age of its newest sample."""
    path = next((one for one in paths if one.get("zone") == zone and one.get("site") == site), None)
    if path is None:
        return []
    legs = [_leg(leg) for leg in items(path, "legs")]
    return [f"{word(path.get('kind'))}: {leg}" if at == 0 else f"then {leg}" for at, leg in enumerate(legs)] or [
        word(path.get("kind"))
    ]


def _leg(leg: "Mapping[str, Json]") -> str:
    rates = [leg.get(key) for key in ("up_bps", "down_bps")]
    known = "/".join(figure(rate / 1e6) for rate in rates if isinstance(rate, int | float))
    trip = f"p50 {figure(leg.get('rtt_p50_ms'))} p99 {figure(leg.get('rtt_p99_ms'), 'ms')}"
    ends = [leg.get(key) for key in ("rtt_p99_low_ms", "rtt_p99_high_ms")]
    if all(isinstance(end, int | float) for end in ends):
        trip += f" ({figure(ends[0])}..{figure(ends[1])})"
    age = f"{figure(leg.get('age_s'), 's')} old"
    rate = f", {known} Mbit/s" if known else ""
    return f"{word(leg.get('source'))} {ARROW} {word(leg.get('target'))}  {trip}{rate}, {age}"


def _chosen(decision: "Mapping[str, Json]", kinds: Mapping[str, str], site: str | None) -> Table:
    heads = ("SITE", "KIND", "REPLICAS", "VARIANT", "COST", "WEIGHT", "NEXT BEST", "MARGIN", "MARGIN $/H")
    found = table("Chosen", *heads)
    for one in items(decision, "chosen"):
        if site in (None, one.get("site")):
            add(
                found,
                word(one.get("site")),
                kinds.get(str(one.get("site")), "-"),
                word(one.get("replicas")),
                word(one.get("variant")),
                figure(one.get("cost_ms"), "ms"),
                figure(one.get("preference")),
                word(one.get("next_best")),
                figure(one.get("margin_ms"), "ms"),
                figure(one.get("margin_usd_per_hour")),
                style="green",
            )
    return found


def _why(decision: "Mapping[str, Json]", site: str | None) -> Iterator[Text]:
    """One line for each chosen site below the table: a sentence in a column is cut into single words."""
    for one in items(decision, "chosen"):
        if site in (None, one.get("site")) and one.get("reason"):
            kept = " (kept: moving gains too little)" if one.get("kept_by_hysteresis") else ""
            terms = _terms(mapping(one, "costs"))
            yield Text(f"  {word(one.get('site'))}: {one['reason']}{kept}{f'; $/h: {terms}' if terms else ''}")


def _terms(costs: "Mapping[str, Json]") -> str:
    """Those of which there are any."""
    found = {name: value for name, value in costs.items() if isinstance(value, int | float) and value}
    return ", ".join(f"{name} {figure(value)}" for name, value in found.items())


def _shares(decision: "Mapping[str, Json]", snapshot: "Mapping[str, Json]", site: str | None) -> Table:
    found = table("Calls", "ZONE", "SHARE", "SITE", "P99 EXPECTED", "LEGS")
    paths = items(snapshot, "paths")
    for one in items(decision, "shares"):
        if site not in (None, one.get("site")):
            continue
        told = one.get("legs")
        legs = _legs(paths, one.get("zone"), one.get("site")) or [
            str(leg) for leg in (told if isinstance(told, list) else [])
        ]
        expected = mapping(one, "response_ms")
        interval = (
            f"{figure(expected.get('expected'), 'ms')} ({figure(expected.get('low'))}..{figure(expected.get('high'))})"
        )
        add(
            found,
            word(one.get("zone")),
            percent(one.get("share")),
            word(one.get("site")),
            interval,
            "\n".join(legs) or "-",
        )
    return found


def _unserved(decision: "Mapping[str, Json]") -> Table:
    found = table("Not served", "ZONE", "SHARE", "NEAREST SITE", "REASON", "ACTUAL", "LIMIT")
    for one in items(decision, "unserved"):
        near = cells(mapping(one, "nearest"))
        add(found, word(one.get("zone")), percent(one.get("share")), near[0], *near[2:], style="red")
    return found


def _not_kept(decision: "Mapping[str, Json]") -> Table:
    found = table("Not kept", "RULE", "ACTUAL", "WANTED")
    for one in items(decision, "shortfalls"):
        unit = str(one.get("unit") or "")
        add(found, word(one.get("rule")), figure(one.get("actual")), figure(one.get("wanted"), unit), style="yellow")
    return found


def _costs(decision: "Mapping[str, Json]") -> Text:
    """What the planner weighed; only replicas and egress are on a bill."""
    terms = {name: value for name, value in mapping(decision, "costs").items() if isinstance(value, int | float)}
    told = ", ".join(f"{name} {figure(value)}" for name, value in terms.items())
    return Text(f"Weighed at {figure(sum(terms.values()))} $/h: {told}" if terms else "")


def _head(decision: "Mapping[str, Json]") -> Text:
    service, version = mapping(decision, "service"), mapping(decision, "version")
    named = f"Service {word(service.get('namespace'))}/{word(service.get('name'))}"
    cost = figure(decision.get("usd_per_hour"))
    return Text(f"{named}, version {word(version.get('name'))}, policy {word(decision.get('policy'))}, {cost} $/h")


def _parts(
    decision: "Mapping[str, Json]",
    snapshot: "Mapping[str, Json]",
    site: str | None,
    remedies: "Sequence[Mapping[str, Json]]",
    every: bool,
) -> Iterator[RenderableType]:
    kinds = {str(one.get("name")): word(one.get("kind")) for one in items(snapshot, "sites")}
    nearest = [mapping(one, "nearest") for one in items(decision, "unserved")]
    near = [Text(f"  {word(one.get('site'))}: {one['detail']}") for one in nearest if one.get("detail")]
    yield _head(decision)
    if costs := _costs(decision):
        yield costs
    sections: tuple[tuple[Table, list[Text]], ...] = (
        (_chosen(decision, kinds, site), list(_why(decision, site))),
        (_shares(decision, snapshot, site), []),
        refused_section(decision, site, every),
        (_unserved(decision), near),
        counts_section(decision, every),
        remedies_section(remedies),
        (_not_kept(decision), [Text(f"  {word(one.get('detail'))}") for one in items(decision, "shortfalls")]),
    )
    for found, notes in sections:
        if found.row_count or notes:
            yield Text()
            yield found if found.row_count else Text(str(found.title), style="bold")
            yield from notes
    if not sections[0][0].row_count:
        yield Text(f"\nNo replica {f'at {site}' if site else 'anywhere'}.")


def placement_table(
    decision_json: "Mapping[str, Json]",
    snapshot_json: "Mapping[str, Json]",
    site: str | None = None,
    remedies_json: "Sequence[Mapping[str, Json]]" = (),
    every: bool = False,
) -> Group:
    """One service's placement as rich shows it; `site`: only what concerns that one; `every`: no counts of refusals."""
    return Group(*_parts(decision_json, snapshot_json, site, remedies_json, every))
