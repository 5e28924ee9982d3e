"""A plan as aligned text. Reads the JSON form of Plan (orchestrator/model/plan.py, docs/schema/Plan.json)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.cli.output import bytes_text, columns
from orchestrator.cli.rows import figure, items, text

if TYPE_CHECKING:
    from orchestrator.cli.client import Json

NOTHING = 0.005  # a change of share that nobody sees
ATTAINED = {"kept": "yes", "likely": "likely", "missed": "no", "no-limit": "no limit"}
STEP_HEADS = ("ACTION", "SERVICE", "REPLICAS", "FROM", "TO", "HOW")
REFUSED_SHOWN = 5  # sites for one zone; -o json has all


def plan_text(plan: "Mapping[str, Json]") -> str:
    """All of it, or that nothing changes."""
    notes = [
        f"Cannot be judged: {_ref(one.get('service'))}: {text(one.get('reason'))}" for one in items(plan, "problems")
    ]
    if not plan.get("changed"):
        return "\n".join([*notes, "No changes: what runs is what is wanted."])
    size = sum(_integer(one.get("size_bytes")) for one in items(plan, "transfers"))
    summary = f"{_summary(plan)}; at most {bytes_text(size)} over the WAN.{_worth(plan)}"
    parts = [*_objects(plan), *_effect(plan), "\n".join(notes), summary]
    return "\n\n".join(part for part in parts if part)


def effect_text(plan: "Mapping[str, Json]") -> str:
    """Without objects: what another decision would have done."""
    if not plan.get("changed"):
        return "The placement would have been the same."
    return "\n\n".join(part for part in (*_effect(plan), f"{_summary(plan)}.{_worth(plan)}") if part)


def _effect(plan: "Mapping[str, Json]") -> Iterator[str]:
    yield _table("Replicas", STEP_HEADS, [_step(one) for one in items(plan, "steps")])
    yield _table("Over the WAN, at most", ("LEG", "BYTES", "ARTIFACTS"), _legs(plan))
    heads = ("SERVICE", "ZONE", "SITE", "SHARE", "P99 EXPECTED", "LIMIT", "ATTAINED")
    yield _table("Calls", heads, [_answer(one) for one in items(plan, "answers")])
    yield _table("Cost, $/h", ("SERVICE", "BEFORE", "AFTER"), _costs(plan))
    yield "\n".join(_not_served(plan))
    causes = plan.get("causes")
    told = [f"  {cause}" for cause in causes] if isinstance(causes, list) else []
    yield "\n".join(["Why", *told]) if told else ""


def _objects(plan: "Mapping[str, Json]") -> Iterator[str]:
    rows = [
        (f"{text(one.get('kind')).lower()}/{text(one.get('name'))}", text(one.get("action")))
        for one in items(plan, "objects")
    ]
    yield _table("Objects", ("NAME", "ACTION"), rows)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Empty without rows."""
    if not rows:
        return ""
    return "\n".join([title, *(f"  {line}" for line in columns(heads, rows).splitlines())])


def _step(step: "Mapping[str, Json]") -> tuple[str, ...]:
    return (
        text(step.get("act")),
        _ref(step.get("service")),
        text(step.get("replicas")),
        _running(_mapping(step, "before")),
        _running(_mapping(step, "after")),
        _how(step.get("gap_s")),
    )


def _how(gap_s: "Json") -> str:
    if not isinstance(gap_s, int | float):
        return "-"
    return f"in place: {gap_s:.0f} s and its load without replica" if gap_s > 0 else "beside"


def _running(one: "Mapping[str, Json]") -> str:
    if not one:
        return "-"
    version = _mapping(one, "version")
    return f"{text(one.get('site'))} ({text(version.get('name'))} {text(one.get('variant'))})"


def _legs(plan: "Mapping[str, Json]") -> list[tuple[str, ...]]:
    sizes, counts = Counter[str](), Counter[str]()
    for one in items(plan, "transfers"):
        leg = text(one.get("leg"))
        sizes[leg] += _integer(one.get("size_bytes"))
        counts[leg] += 1
    return [(leg, bytes_text(sizes[leg]), str(counts[leg])) for leg in sorted(counts)]


def _answer(one: "Mapping[str, Json]") -> tuple[str, ...]:
    before, after = _number(one.get("share_before")), _number(one.get("share"))
    moved = abs(before - after) > NOTHING
    limit = one.get("limit_ms")
    return (
        _ref(one.get("service")),
        text(one.get("zone")),
        text(one.get("site")),
        f"{before:.0%} -> {after:.0%}" if moved else f"{after:.0%}",
        _interval(_mapping(one, "p99_ms")),
        f"{figure(limit)} ms" if isinstance(limit, int | float) else "-",
        ATTAINED.get(str(one.get("attainment")), "-") if after > 0 else "-",
    )


def _interval(found: "Mapping[str, Json]") -> str:
    if not found:
        return "-"
    return f"{figure(found.get('expected'))} ms ({figure(found.get('low'))}..{figure(found.get('high'))})"


def _costs(plan: "Mapping[str, Json]") -> list[tuple[str, ...]]:
    rows = [
        (_ref(one.get("service")), figure(one.get("usd_per_hour_before")), figure(one.get("usd_per_hour")))
        for one in items(plan, "costs")
    ]
    return [*rows, ("all", figure(plan.get("usd_per_hour_before")), figure(plan.get("usd_per_hour")))] if rows else []


def _not_served(plan: "Mapping[str, Json]") -> Iterator[str]:
    for one in items(plan, "not_served"):
        before, after = _number(one.get("share_before")), _number(one.get("share"))
        calls = f"{_ref(one.get('service'))} from zone {text(one.get('zone'))}"
        yield f"Not served: {after:.0%} of the calls to {calls}, {before:.0%} now"
        refused = items(one, "refused")
        for site in refused[:REFUSED_SHOWN]:
            yield f"  {text(site.get('site'))}: {text(site.get('reason'))}: {text(site.get('detail'))}"
        if len(refused) > REFUSED_SHOWN:
            yield f"  and {len(refused) - REFUSED_SHOWN} more sites: -o json has them all"


def _summary(plan: "Mapping[str, Json]") -> str:
    acts = Counter[str]()
    for step in items(plan, "steps"):
        acts[text(step.get("act"))] += _integer(step.get("replicas"))
    counted = ", ".join(f"{acts[act]} to {act}" for act in ("start", "stop", "move", "update"))
    cost = f"{figure(plan.get('usd_per_hour_before'))} -> {figure(plan.get('usd_per_hour'))} $/h"
    return f"Replicas: {counted}; {cost}"


def _worth(plan: "Mapping[str, Json]") -> str:
    """How far from the best the placement can be."""
    gap = plan.get("gap")
    if not isinstance(gap, int | float):
        return ""
    objective, bound = figure(plan.get("objective_usd_per_hour")), figure(plan.get("lower_bound_usd_per_hour"))
    proven = f"no placement is below {bound} ({text(plan.get('bound'))}): gap {max(gap, 0.0):.1%}."
    return f"\nObjective: {objective} $/h with waiting and unserved calls; {proven}"


def _mapping(document: "Mapping[str, Json]", key: str) -> "dict[str, Json]":
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _ref(value: "Json") -> str:
    return f"{text(value.get('namespace'))}/{text(value.get('name'))}" if isinstance(value, dict) else "-"


def _number(value: "Json") -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _integer(value: "Json") -> int:
    return int(_number(value))
