"""`python -m benchmarks.placement solve|compare|incremental|check INSTANCE.npz | suite | throughput`, measured.

Compiling is done first, on a few sites, and counted apart. Effort is counted in steps, so that a busy machine changes
times and nothing else. Examples:

  python -m benchmarks.placement solve xl.npz --budget-s 60 --threads 2 --seed 0 --out plan.npz
  python -m benchmarks.placement check xl.npz plan.npz
  python -m benchmarks.placement compare m.npz --budget-s 10
  python -m benchmarks.placement incremental xl.npz --plan plan.npz --losses 1000
  python -m benchmarks.placement suite --size medium --seed 0 --events
  python -m benchmarks.placement throughput --nodes 5000
"""

import argparse
import os
import platform
import resource
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.placement import throughput
from benchmarks.placement.baselines import CHEAPEST, KUBE_LIKE, NEAREST, local_search, spread
from benchmarks.placement.instances import BadInstance, read_npz, read_programme
from benchmarks.placement.suite import table as suite_table
from orchestrator.placement.checking import check_plan, lower_bound_usd_per_hour
from orchestrator.placement.search.bounds import Bound, bound_by_services, gap, lagrangian_bound
from orchestrator.placement.search.programme import Ints, Plan, Prices, Programme, programme
from orchestrator.placement.search.relaxation import Relaxed, relax
from orchestrator.placement.search.repair import Repairs
from orchestrator.placement.search.solve import Effort, Solution, effort_for, solve

console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
# More iterations towards the bound than the search needs for its prices.
BOUND_ITERATIONS = 800
# Beyond this many arcs the bound by services takes more than a minute.
MOST_ARCS_BY_SERVICE = 60_000


def machine() -> str:
    return f"{platform.node()}: {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def compile_first(threads: int) -> float:
    """Seconds until everything that is timed later is machine code."""
    start_s = time.perf_counter()
    tiny = _tiny()
    solution = solve(tiny, Effort(3, 400), 0, threads)
    lagrangian_bound(tiny, solution.relaxed.prices, threads)
    for how in (CHEAPEST, NEAREST, KUBE_LIKE):
        spread(tiny, how, np.zeros(tiny.arcs), 0)
    repairs = Repairs(tiny, solution.plan, solution.relaxed, 0)
    repairs.change_demands(np.array([0, 1]), np.array([0.5, 2.0]))
    repairs.lose_site(0)
    return time.perf_counter() - start_s


def _tiny() -> Programme:
    """Two edge sites and a pool, two demands of one service."""
    return programme(
        site_pool=np.array([False, False, True]),
        site_memory=np.array([4, 4, 40]),
        site_compute=np.array([2, 2, 20]),
        pair_site=np.array([0, 1, 2]),
        pair_service=np.zeros(3),
        pair_rps=np.array([1.0, 1.0, 2.0]),
        pair_usd=np.array([0.1, 0.1, 1.0]),
        pair_memory=np.ones(3),
        pair_compute=np.ones(3),
        arc_demand=np.array([0, 1, 0, 1, 0, 1]),
        arc_pair=np.array([0, 0, 1, 1, 2, 2]),
        arc_usd=np.full(6, 0.01),
        arc_uses=np.arange(7),
        use_link=np.zeros(6),
        use_mbit=np.ones(6),
        link_mbps=np.array([100.0]),
        demand_zone=np.array([0, 1]),
        demand_rps=np.ones(2),
        demand_penalty_usd=np.full(2, 9.0),
    )


def find_bound(of: Programme, relaxed: Relaxed, threads: int) -> Bound:
    """The tightest that about a minute gives."""
    prices = relax(of, BOUND_ITERATIONS, threads, relaxed.point).prices
    best = max(lagrangian_bound(of, prices, threads), lagrangian_bound(of, relaxed.prices, threads), key=_value)
    if of.arcs <= MOST_ARCS_BY_SERVICE:
        best = max(best, bound_by_services(of, best.prices, threads), key=_value)
    return best


def _value(bound: Bound) -> float:
    return bound.usd_per_hour


def timed_solve(of: Programme, budget_s: float, seed: int, threads: int) -> tuple[Solution, float]:
    start_s = time.perf_counter()
    solution = solve(of, effort_for(of, budget_s), seed, threads)
    return solution, time.perf_counter() - start_s


def run_solve(options: argparse.Namespace) -> int:
    of, _ = read_programme(options.instance)
    compiled_s = compile_first(options.threads)
    solution, solve_s = timed_solve(of, options.budget_s, options.seed, options.threads)
    start_s = time.perf_counter()
    bound = find_bound(of, solution.relaxed, options.threads) if options.bound else None
    bound_s = time.perf_counter() - start_s
    verdict = check_plan(of, solution.plan)
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    table = Table("what", "figure", title=f"{options.instance.name} on {machine()}", title_justify="left")
    rows = [
        ("sites, pairs, arcs, demands", f"{len(of.site_memory)}, {len(of.pair_usd)}, {of.arcs}, {of.demands}"),
        ("objective", f"{verdict.usd_per_hour:.2f} $/h"),
        ("  replicas", f"{verdict.replica_usd:.2f} $/h, {int(solution.plan.replicas.sum())} of them"),
        ("  routing, unserved", f"{verdict.routing_usd:.2f} $/h, {verdict.unserved_usd:.2f} $/h"),
        ("unserved value", f"{verdict.unserved_value:.4%}"),
        ("violations", "; ".join(verdict.violations[:3]) or "none"),
        ("time, compiling apart", f"{solve_s:.2f} s (compiling {compiled_s:.1f} s)"),
        ("memory", f"{memory_mib:.0f} MiB"),
    ]
    if bound:
        rows.append(("bound", f"{bound.usd_per_hour:.2f} $/h: {bound.name}, in {bound_s:.1f} s more"))
        rows.append(("gap to it", f"{gap(verdict.usd_per_hour, bound):.2%} = (objective - bound) / bound"))
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if options.out:
        _write(options.out, of, solution, bound, {"solve_s": solve_s, "bound_s": bound_s, "compile_s": compiled_s})
        console.print(f"wrote {options.out}")
    return 1 if verdict.violations else 0


def _write(path: Path, of: Programme, solution: Solution, bound: Bound | None, times: dict[str, float]) -> None:
    prices = bound.prices if bound else solution.relaxed.prices
    found = bound.usd_per_hour if bound else float("nan")
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            f=solution.plan.rps / of.demand_rps[of.arc_demand],
            x=solution.plan.replicas,
            objective=solution.plan.usd_per_hour,
            bound=found,
            bound_name=bound.name if bound else "none",
            gap=gap(solution.plan.usd_per_hour, bound) if bound else float("nan"),
            **{f"price_{name}": values for name, values in prices._asdict().items()},
            **times,
        )


def read_plan(path: Path, of: Programme) -> tuple[Plan, Prices | None]:
    """A plan file. Raises BadInstance."""
    stored = read_npz(path)
    missing = [name for name in ("f", "x", "objective") if name not in stored]
    if missing:
        raise BadInstance(f"{path}: lacks {', '.join(missing)}: make a plan by `solve --out`")
    shares, replicas, objective = stored["f"], stored["x"], stored["objective"]
    shapes, wanted = (shares.shape, replicas.shape, objective.shape), ((of.arcs,), (len(of.pair_usd),), ())
    if shapes != wanted:
        raise BadInstance(f"{path}: f, x, objective have shapes {shapes}, not {wanted}: it belongs to another instance")
    # As it was written: a part of a replica is for the check to find.
    whole = replicas.astype(np.int64) if (replicas == np.rint(replicas)).all() else replicas
    prices = [stored[f"price_{name}"] for name in Prices._fields if f"price_{name}" in stored]
    plan = Plan(whole, shares * of.demand_rps[of.arc_demand], float(objective))
    return plan, Prices(*prices) if len(prices) == len(Prices._fields) else None


def run_check(options: argparse.Namespace) -> int:
    of, _ = read_programme(options.instance)
    plan, prices = read_plan(options.plan, of)
    verdict = check_plan(of, plan)
    for violation in verdict.violations[:20]:
        console.print(f"[red]violated[/] {violation}")
    console.print(f"objective {verdict.usd_per_hour:.4f} $/h, unserved value {verdict.unserved_value:.4%}")
    if prices is not None:
        proven = lower_bound_usd_per_hour(of, prices)
        console.print(
            f"the plan's prices prove {proven:.4f} $/h (Lagrangian): gap {verdict.usd_per_hour / proven - 1:.2%}"
        )
    return 1 if verdict.violations else 0


def run_compare(options: argparse.Namespace) -> int:
    of, arrays = read_programme(options.instance)
    compile_first(options.threads)
    latency_ms = np.asarray(arrays["a_l"], dtype=np.float64)
    part = latency_ms / arrays["m_slo"][arrays["d_m"].astype(np.int64)][of.arc_demand]
    effort = effort_for(of, options.budget_s)
    table = Table(title=f"{options.instance.name} on {machine()}, seed {options.seed}", title_justify="left")
    for head in ("method", "time s", "objective $/h", "unserved value", "replicas", "violations"):
        table.add_column(head, justify="left" if head == "method" else "right")
    for name, plan_it in (
        ("kube-like", lambda: spread(of, KUBE_LIKE, part, options.seed)),
        ("nearest", lambda: spread(of, NEAREST, latency_ms, options.seed)),
        ("cheapest", lambda: spread(of, CHEAPEST, latency_ms, options.seed)),
        ("greedy + local search, no prices", lambda: local_search(of, effort.moves, options.seed, options.threads)),
        ("skerry", lambda: solve(of, effort, options.seed, options.threads).plan),
    ):
        start_s = time.perf_counter()
        plan = plan_it()
        seconds = time.perf_counter() - start_s
        verdict = check_plan(of, plan)
        figures = (f"{seconds:.2f}", f"{verdict.usd_per_hour:.1f}", f"{verdict.unserved_value:.3%}")
        table.add_row(name, *figures, str(int(plan.replicas.sum())), str(len(verdict.violations)))
    console.print(table)
    return 0


def run_incremental(options: argparse.Namespace) -> int:
    """Loaded edge sites lost one after the other, then a hundredth of the demands changed at once."""
    of, _ = read_programme(options.instance)
    compile_first(options.threads)
    if options.plan:
        plan, _ = read_plan(options.plan, of)
        relaxed = relax(of, effort_for(of, options.budget_s).iterations, options.threads)
    else:
        solution, _ = timed_solve(of, options.budget_s, options.seed, options.threads)
        plan, relaxed = solution.plan, solution.relaxed
    random = np.random.Generator(np.random.PCG64(options.seed))
    table = Table("what", "figure", title=f"{options.instance.name} on {machine()}", title_justify="left")
    _losses(table, of, plan, relaxed, options.losses, random)
    _demand_change(table, of, plan, relaxed, options, random)
    console.print(table)
    return 0


def _losses(table: Table, of: Programme, plan: Plan, relaxed: Relaxed, count: int, random: np.random.Generator) -> None:
    repairs = Repairs(of, plan, relaxed, 0)
    held = np.bincount(of.pair_site, plan.replicas, len(of.site_memory))
    loaded = np.nonzero((held > 0) & ~of.site_pool)[0]
    sites = random.permutation(loaded)[:count]
    milliseconds, found = [], []
    for site in sites:
        start_s = time.perf_counter()
        found.append(repairs.lose_site(int(site)))
        milliseconds.append(1000 * (time.perf_counter() - start_s))
    lost, started, stopped = (sum(getattr(r, name) for r in found) for name in ("lost", "started", "stopped"))
    verdict = check_plan(repairs.programme._replace(pair_start_usd=of.pair_start_usd * 0), repairs.plan())
    p50, p95, p99 = np.percentile(milliseconds, [50, 95, 99])
    table.add_row(f"{len(sites)} node losses", f"p50 {p50:.2f} ms, p95 {p95:.2f} ms, p99 {p99:.2f} ms")
    table.add_row("  replicas lost, started", f"{lost}, {started} = {started / max(lost, 1):.2f} x lost")
    table.add_row("  others stopped", f"{stopped}, for starts that earn more")
    table.add_row("  cost", f"{sum(r.usd_per_hour for r in found):+.2f} $/h to {verdict.usd_per_hour:.2f} $/h")
    table.add_row("  violations", "; ".join(verdict.violations[:3]) or "none")


def _demand_change(
    table: Table,
    of: Programme,
    plan: Plan,
    relaxed: Relaxed,
    options: argparse.Namespace,
    random: np.random.Generator,
) -> None:
    demands: Ints = np.sort(random.choice(of.demands, max(of.demands // 100, 1), replace=False))
    rps = of.demand_rps[demands] * random.lognormal(0, 0.3, len(demands))
    milliseconds: list[float] = []
    for _ in range(5):
        repairs = Repairs(of, plan, relaxed, 0)
        start_s = time.perf_counter()
        repaired = repairs.change_demands(demands, rps)
        milliseconds.append(1000 * (time.perf_counter() - start_s))
    verdict = check_plan(repairs.programme, repairs.plan())
    changed = of._replace(demand_rps=repairs.programme.demand_rps)
    full, full_s = timed_solve(changed, options.budget_s, options.seed, options.threads)
    churn = (repaired.started + repaired.stopped) / max(int(plan.replicas.sum()), 1)
    table.add_row(f"1% of demands changed ({len(demands)})", f"{np.median(milliseconds):.1f} ms, median of 5")
    table.add_row("  replicas started, stopped", f"{repaired.started}, {repaired.stopped} = {churn:.3%} of all")
    table.add_row("  objective", f"{plan.usd_per_hour:.2f} to {verdict.usd_per_hour:.2f} $/h")
    over = verdict.usd_per_hour / full.plan.usd_per_hour - 1
    table.add_row(
        "  a full plan instead", f"{full.plan.usd_per_hour:.2f} $/h in {full_s:.1f} s: repaired is {over:+.2%}"
    )
    table.add_row("  violations", "; ".join(verdict.violations[:3]) or "none")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.placement", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in (
        ("solve", run_solve),
        ("compare", run_compare),
        ("incremental", run_incremental),
        ("check", run_check),
    ):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("instance", type=Path, help=".npz in the format of benchmarks/placement/README.md")
        if name == "check":
            command.add_argument("plan", type=Path, help="what `solve --out` wrote")
            continue
        command.add_argument("--budget-s", type=float, default=30.0, help="effort, as time on the reference machine")
        command.add_argument("--threads", type=int, default=2)
        command.add_argument("--seed", type=int, default=0)
        if name == "solve":
            command.add_argument("--out", type=Path, help="write the plan, its prices and its bound here")
            command.add_argument("--no-bound", dest="bound", action="store_false", help="spare the minute for it")
        if name == "incremental":
            command.add_argument("--plan", type=Path, help="start from this plan instead of solving first")
            command.add_argument("--losses", type=int, default=1000)
    suite_table.add_to(commands)
    throughput.add_to(commands)
    options = parser.parse_args()
    for name, least in (("budget_s", 0.0), ("threads", 0), ("seed", -1), ("losses", -1)):
        if getattr(options, name, least + 1) <= least:
            parser.error(f"--{name.replace('_', '-')}: {getattr(options, name)}: give more than {least}")
    try:
        return int(options.run(options))
    except BadInstance as err:
        console.print(f"[red]{err}[/]")
        return 2


if __name__ == "__main__":
    sys.exit(main())
