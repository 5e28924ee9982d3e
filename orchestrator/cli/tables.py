"""A placement as tables: what was chosen and why, over which measured legs, what was refused and what would help.

Reads the JSON forms of ServiceDecision and Snapshot (orchestrator/model/snapshot.py), as `explain` carries them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.rows import figure

if TYPE_CHECKING:
    from orchestrator.cli.client import Json

ARROW = "──▶"


def _items(document: "Mapping[str, Json]", key: str) -> "list[dict[str, Json]]":
    found = document.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _mapping(document: "Mapping[str, Json]", key: str) -> "dict[str, Json]":
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _word(value: "Json") -> str:
    return "-" if value in (None, "") else str(value)


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in heads:
        # Words are folded, never cut: a reason that ends in dots explains nothing.
        table.add_column(head, overflow="fold", header_style="bold")
    return table


def _add(table: Table, *cells: str, style: str = "") -> None:
    table.add_row(*(Text(cell, style=style) for cell in cells))  # Text: a name in brackets is no markup


def _legs(paths: "Sequence[Mapping[str, Json]]", zone: "Json", site: "Json") -> list[str]:
    """How the zone reaches the site: each leg with round trips, throughput and the age of its newest sample."""
    path = next((one for one in paths if one.get("zone") == zone and one.get("site") == site), None)
    if path is None:
        return []
    legs = [_leg(leg) for leg in _items(path, "legs")]
    return [f"{_word(path.get('kind'))}: {leg}" if at == 0 else f"then {leg}" for at, leg in enumerate(legs)] or [
        _word(path.get("kind"))
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
    return f"{_word(leg.get('source'))} {ARROW} {_word(leg.get('target'))}  {trip}{rate}, {age}"


def _chosen(decision: "Mapping[str, Json]", kinds: Mapping[str, str], site: str | None) -> Table:
    table = _table("Chosen", "SITE", "KIND", "REPLICAS", "VARIANT", "COST", "WEIGHT", "NEXT BEST", "MARGIN")
    for one in _items(decision, "chosen"):
        if site in (None, one.get("site")):
            _add(
                table,
                _word(one.get("site")),
                kinds.get(str(one.get("site")), "-"),
                _word(one.get("replicas")),
                _word(one.get("variant")),
                figure(one.get("cost_ms"), "ms"),
                figure(one.get("preference")),
                _word(one.get("next_best")),
                figure(one.get("margin_ms"), "ms"),
                style="green",
            )
    return table


def _notes(items: "Sequence[Mapping[str, Json]]", key: str, site: str | None) -> list[Text]:
    """One line for each site below its table: a sentence in a column is cut into single words."""
    notes: list[Text] = []
    for one in items:
        if site in (None, one.get("site")) and one.get(key):
            kept = " (kept: moving gains too little)" if one.get("kept_by_hysteresis") else ""
            notes.append(Text(f"  {_word(one.get('site'))}: {one[key]}{kept}"))
    return notes


def _shares(decision: "Mapping[str, Json]", snapshot: "Mapping[str, Json]", site: str | None) -> Table:
    table = _table("Calls", "ZONE", "SHARE", "SITE", "P99 EXPECTED", "LEGS")
    paths = _items(snapshot, "paths")
    for one in _items(decision, "shares"):
        if site not in (None, one.get("site")):
            continue
        told = one.get("legs")
        legs = _legs(paths, one.get("zone"), one.get("site")) or [
            str(leg) for leg in (told if isinstance(told, list) else [])
        ]
        expected = _mapping(one, "response_ms")
        interval = (
            f"{figure(expected.get('expected'), 'ms')} ({figure(expected.get('low'))}..{figure(expected.get('high'))})"
        )
        share = one.get("share")
        percent = f"{share:.0%}" if isinstance(share, int | float) else "-"
        _add(table, _word(one.get("zone")), percent, _word(one.get("site")), interval, "\n".join(legs) or "-")
    return table


def _refused_cells(one: "Mapping[str, Json]") -> tuple[str, ...]:
    unit = str(one.get("unit") or "")
    return (
        _word(one.get("site")),
        _word(one.get("zone") or "all"),
        _word(one.get("reason")),
        figure(one.get("actual"), unit),
        figure(one.get("limit"), unit),
    )


def _refused(decision: "Mapping[str, Json]", site: str | None) -> Table:
    table = _table("Refused", "SITE", "ZONE", "REASON", "ACTUAL", "LIMIT")
    for one in _items(decision, "refused"):
        if site in (None, one.get("site")):
            _add(table, *_refused_cells(one), style="yellow")
    return table


def _unserved(decision: "Mapping[str, Json]") -> Table:
    table = _table("Not served", "ZONE", "SHARE", "NEAREST SITE", "REASON", "ACTUAL", "LIMIT")
    for one in _items(decision, "unserved"):
        share = one.get("share")
        near = _refused_cells(_mapping(one, "nearest"))
        percent = f"{share:.0%}" if isinstance(share, int | float) else "-"
        _add(table, _word(one.get("zone")), percent, near[0], *near[2:], style="red")
    return table


def _not_kept(decision: "Mapping[str, Json]") -> Table:
    table = _table("Not kept", "RULE", "ACTUAL", "WANTED")
    for one in _items(decision, "shortfalls"):
        unit = str(one.get("unit") or "")
        _add(table, _word(one.get("rule")), figure(one.get("actual")), figure(one.get("wanted"), unit), style="yellow")
    return table


def _costs(decision: "Mapping[str, Json]") -> Text:
    """What the planner weighed; only replicas and egress are on a bill."""
    terms = {name: value for name, value in _mapping(decision, "costs").items() if isinstance(value, int | float)}
    told = ", ".join(f"{name} {figure(value)}" for name, value in terms.items())
    return Text(f"Weighed at {figure(sum(terms.values()))} $/h: {told}" if terms else "")


def _head(decision: "Mapping[str, Json]") -> Text:
    service, version = _mapping(decision, "service"), _mapping(decision, "version")
    named = f"Service {_word(service.get('namespace'))}/{_word(service.get('name'))}"
    cost = figure(decision.get("usd_per_hour"))
    return Text(f"{named}, version {_word(version.get('name'))}, policy {_word(decision.get('policy'))}, {cost} $/h")


def _parts(
    decision: "Mapping[str, Json]", snapshot: "Mapping[str, Json]", site: str | None
) -> Iterator[RenderableType]:
    kinds = {str(one.get("name")): _word(one.get("kind")) for one in _items(snapshot, "sites")}
    chosen, refused = _items(decision, "chosen"), _items(decision, "refused")
    nearest = [_mapping(one, "nearest") for one in _items(decision, "unserved")]
    yield _head(decision)
    if costs := _costs(decision):
        yield costs
    sections: tuple[tuple[Table, list[Text]], ...] = (
        (_chosen(decision, kinds, site), _notes(chosen, "reason", site)),
        (_shares(decision, snapshot, site), []),
        (_refused(decision, site), _notes(refused, "detail", site)),
        (_unserved(decision), _notes(nearest, "detail", None)),
        (_not_kept(decision), [Text(f"  {_word(one.get('detail'))}") for one in _items(decision, "shortfalls")]),
    )
    for table, notes in sections:
        if table.row_count:
            yield Text()
            yield table
            yield from notes
    if not sections[0][0].row_count:
        yield Text(f"\nNo replica {f'at {site}' if site else 'anywhere'}.")


def placement_table(
    decision_json: "Mapping[str, Json]", snapshot_json: "Mapping[str, Json]", site: str | None = None
) -> Group:
    """One service's placement as rich shows it; `site`: only what concerns that one."""
    return Group(*_parts(decision_json, snapshot_json, site))
