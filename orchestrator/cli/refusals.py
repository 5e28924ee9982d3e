"""Refused sites and unserved demands as tables: each site where they are few, else counts and the nearest few.

Reads the JSON forms of ServiceDecision (orchestrator/model/snapshot.py) and Remedy (orchestrator/model/relaxation.py).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from orchestrator.cli.pictures import add, mapping, percent, table, word
from orchestrator.cli.rows import figure, items

if TYPE_CHECKING:
    from orchestrator.cli.client import Json

MANY = 10  # refusals, or unserved zones: more are counted unless all are asked for
NEAREST = 3
HEADS = ("REASON", "SITES", "NEAREST", "ACTUAL", "LIMIT", "MISSED BY", "MOST OF IT")
_TERMS = (("round trip", "round_trip_ms"), ("transfer", "transfer_ms"), ("service time", "service_ms"))


def refused_section(decision: "Mapping[str, Json]", site: str | None, every: bool) -> tuple[Table, list[Text]]:
    refused = [one for one in items(decision, "refused") if site in (None, one.get("site"))]
    if every or len(refused) <= MANY:
        found = table("Refused", "SITE", "ZONE", "REASON", "ACTUAL", "LIMIT")
        for one in refused:
            add(found, *cells(one), style="yellow")
        return found, [Text(f"  {word(one.get('site'))}: {one['detail']}") for one in refused if one.get("detail")]
    sites = len({str(one.get("site")) for one in refused})
    found = table(f"Refused: {sites} sites (--all lists each)", *HEADS)
    notes: list[Text] = []
    for reason, those in _by_reason(refused):
        nearest = those[0]
        count = len({str(one.get("site")) for one in those})
        names = list(dict.fromkeys(str(one.get("site")) for one in those))[:NEAREST]
        add(found, reason, str(count), ", ".join(names), *_missed(nearest), style="yellow")
        notes.append(Text(f"  {reason}, {word(nearest.get('site'))}: {word(nearest.get('detail'))}"))
    return found, notes


def cells(one: "Mapping[str, Json]") -> tuple[str, ...]:
    unit = str(one.get("unit") or "")
    return (
        word(one.get("site")),
        word(one.get("zone") or "all"),
        word(one.get("reason")),
        figure(one.get("actual"), unit),
        figure(one.get("limit"), unit),
    )


def counts_section(decision: "Mapping[str, Json]", every: bool) -> tuple[Table, list[Text]]:
    """Of each unserved demand, why no site took it."""
    found = table("Not served, by reason", "ZONE", *HEADS)
    unserved = items(decision, "unserved")
    for left in unserved if every else unserved[:MANY]:
        for count in items(left, "refused"):
            those = items(count, "nearest")
            names = ", ".join(str(one.get("site")) for one in those)
            missed = _missed(those[0]) if those else ("-",) * 4
            add(found, word(left.get("zone")), word(count.get("reason")), word(count.get("sites")), names, *missed)
    hidden = 0 if every else len(unserved) - MANY
    return found, [Text(f"  and {hidden} more zones (--all lists each)")] if hidden > 0 else []


def remedies_section(remedies: "Sequence[Mapping[str, Json]]") -> tuple[Table, list[Text]]:
    """What would help: a sentence is no cell."""
    found = table("What would help", "ZONE", "CHANGE", "OF", "FROM", "TO", "SERVES", "USD/H", "ON THE BILL", "UNSERVED")
    notes: list[Text] = []
    for one in remedies:
        zone, relaxation = word(one.get("zone")), mapping(one, "relaxation")
        if relaxation:
            unit = str(relaxation.get("unit") or "")
            add(
                found,
                zone,
                word(relaxation.get("field")),
                word(relaxation.get("object")),
                _value(relaxation.get("before"), unit),
                _value(relaxation.get("after"), unit),
                percent(relaxation.get("serves")),
                *(
                    _signed(relaxation.get(key))
                    for key in ("usd_per_hour", "billed_usd_per_hour", "unserved_usd_per_hour")
                ),
                style="cyan",
            )
            notes.append(Text(f"  {zone}: {word(relaxation.get('sentence'))}"))
        elif one.get("share"):
            notes.append(Text(f"  {zone}: {_none_found(one)}"))
        if bound := mapping(one, "binding"):
            notes.append(Text(f"  {zone}: {_bound(bound)}"))
    return found, notes


def _none_found(remedy: "Mapping[str, Json]") -> str:
    if not remedy.get("trials"):
        return "no change was looked for: a plan of this fleet takes too long"
    return "no single change was found that would serve more of it: see the reasons above"


def _bound(bound: "Mapping[str, Json]") -> str:
    constraint = bound.get("constraint")
    kind, *place = [str(part) for part in constraint] if isinstance(constraint, list) else ["-"]
    price, unit = figure(bound.get("usd_per_hour")), word(bound.get("unit"))
    felt = figure(bound.get("felt_usd_per_hour"))
    return f"bound by {kind} of {', '.join(place)}: {price} USD/h for one {unit} more, {felt} USD/h for all it needs"


def _by_reason(refused: "Sequence[dict[str, Json]]") -> "Iterator[tuple[str, list[dict[str, Json]]]]":
    """Those that stopped most sites first; within a reason the nearest first."""
    found: dict[str, list[dict[str, Json]]] = {}
    for one in sorted(refused, key=_distance):
        found.setdefault(word(one.get("reason")), []).append(one)
    yield from sorted(found.items(), key=lambda pair: (-len({str(one.get("site")) for one in pair[1]}), pair[0]))


def _distance(one: "Mapping[str, Json]") -> tuple[float, str]:
    actual, limit = one.get("actual"), one.get("limit")
    if not isinstance(actual, int | float) or not isinstance(limit, int | float):
        return math.inf, str(one.get("site"))
    return abs(actual - limit) / max(abs(actual), abs(limit), 1e-9), str(one.get("site"))


def _missed(one: "Mapping[str, Json]") -> tuple[str, str, str, str]:
    """Actual, limit, by how much, and the largest term where it is too slow."""
    unit, actual, limit = str(one.get("unit") or ""), one.get("actual"), one.get("limit")
    missed = "-"
    if isinstance(actual, int | float) and isinstance(limit, int | float):
        missed = figure(abs(actual - limit), unit)
    terms = mapping(one, "terms")
    sizes = [(value, name) for name, key in _TERMS if isinstance(value := terms.get(key), int | float)]
    largest = f"{max(sizes)[1]} {figure(max(sizes)[0], 'ms')}" if sizes else "-"
    return figure(actual, unit), figure(limit, unit), missed, largest


def _value(value: "Json", unit: str) -> str:
    return figure(value, unit) if isinstance(value, int | float) else word(value)


def _signed(value: "Json") -> str:
    if not isinstance(value, int | float):
        return "-"
    return figure(value) if value <= 0 else f"+{figure(value)}"
