"""`python -m benchmarks.placement suite`: the usual ways and skerry on one instance, each decision audited."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial

from rich.console import Console
from rich.table import Table

from benchmarks.placement.suite.events import events_table
from benchmarks.placement.suite.instances import SETTINGS, instance
from benchmarks.placement.suite.places import SIZES
from benchmarks.placement.suite.usual import Way, usual
from orchestrator.model.snapshot import Decision, Snapshot
from orchestrator.placement import place
from orchestrator.placement.auditing import Audit, audit

console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def machine() -> str:
    return f"{platform.node()}: {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("suite", help="the second suite: policies, tenants, N+1, running placements")
    command.add_argument("--size", choices=sorted(SIZES), default="small")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--events", action="store_true", help="what one event moves in a fleet that runs as planned")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """1 if skerry's decision breaks a rule."""
    snapshot = instance(options.size, options.seed)
    console.print(f"{options.size}, seed {options.seed}: {described(snapshot)}; on {machine()}")
    if options.events:
        table, violations = events_table(snapshot, options.seed, lambda what: console.print(f"[dim]{what}[/]"))
        console.print(table)
        return 1 if violations else 0
    table = Table()
    for head in (
        "method",
        "cost $/h",
        "objective $/h",
        "unserved value",
        "violations",
        "not kept",
        "replicas",
        "time s",
        "bound $/h",
        "gap",
        "proven $/h",
    ):
        table.add_column(head, justify="left" if head == "method" else "right")
    found: Audit | None = None
    ways: dict[str, Callable[[], Decision]] = {way: partial(usual, snapshot, SETTINGS, way) for way in Way}
    ways["skerry"] = partial(place, snapshot, SETTINGS, options.seed)
    for name, decide in ways.items():
        start_s = time.perf_counter()
        decision = decide()
        seconds = time.perf_counter() - start_s
        found = audit(snapshot, SETTINGS, decision)
        table.add_row(name, *_figures(decision, found, seconds))
    console.print(table)
    if found is None or not found.violations:
        return 0
    for violation in found.violations[:20]:
        console.print(f"[red]violated[/] {violation}")
    return 1


def described(snapshot: Snapshot) -> str:
    counts = ("sites", "services", "paths", "claims", "quotas")
    return ", ".join(f"{len(getattr(snapshot, name))} {name}" for name in counts)


def _figures(decision: Decision, found: Audit, seconds: float) -> tuple[str, ...]:
    """`not kept`: of all services the rules that the decision says it cannot keep."""
    gap = decision.gap
    bound = ("", "") if gap is None else (f"{decision.lower_bound_usd_per_hour:.2f}", f"{gap:.2%} {decision.bound}")
    return (
        f"{found.usd_per_hour:.2f}",
        f"{decision.objective_usd_per_hour:.2f}",
        f"{found.unserved_value:.2%}",
        str(len(found.violations)),
        str(len({(one.service, lack.rule) for one in decision.services for lack in one.shortfalls})),
        str(sum(chosen.replicas for one in decision.services for chosen in one.chosen)),
        f"{seconds:.2f}",
        *bound,
        f"{found.proven_usd_per_hour:.2f}" if decision.prices else "",
    )
