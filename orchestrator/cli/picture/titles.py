"""What stands above a picture: of a plan, and of what is in force."""

from orchestrator.cli.picture.graph import Graph
from orchestrator.cli.picture.selecting import graph
from orchestrator.cli.rows import figure
from orchestrator.model.view import PlacementView


def plan_graph(view: PlacementView) -> Graph:
    replicas = [one for service in view.services for one in service.replicas]
    starts, stops = sum(one.starts for one in replicas), sum(one.stops for one in replicas)
    counts = [(number, verb) for number, verb in ((starts, "start"), (stops, "stop")) if number]
    changes = ", ".join(f"{number} replica{'s' * (number > 1)} {verb}{'s' * (number == 1)}" for number, verb in counts)
    compared = f"compared with decision {view.decision}" if view.decision else "no decision was made yet"
    before, after = figure(view.usd_per_hour_before), figure(view.usd_per_hour)
    price = f"replicas {after} $/h" if before == after else f"replicas {before} → {after} $/h"
    title = f"Plan: {changes or 'no replica starts or stops'}"
    return graph(view, title, (compared, price, _worth(view)))


def service_graph(view: PlacementView) -> Graph:
    """Of the one service that the view is of."""
    name = view.services[0].service.name if view.services else "?"
    held = [one for service in view.services for one in service.replicas if one.stays + one.starts]
    replicas, sites = sum(one.stays + one.starts for one in held), len({one.site for one in held})
    title = f"{name}: {replicas} replica{'s' * (replicas != 1)} at {sites} site{'s' * (sites != 1)}"
    return graph(view, title, (f"decision {view.decision}", f"replicas {_usd(view.usd_per_hour)}", _worth(view)))


def _worth(view: PlacementView) -> str:
    """What was minimised, and how far from the best it can be; without a bound, what the services were weighed at."""
    if view.gap is None:
        return f"weighed at {_usd(view.weighed_usd_per_hour)}, waiting and unserved calls included"
    least = f"no placement is below {_usd(view.lower_bound_usd_per_hour)} ({view.bound})"
    return f"objective {_usd(view.objective_usd_per_hour)}, {least}: gap {max(0.0, view.gap):.1%}"


def _usd(per_hour: float) -> str:
    return f"{per_hour:,.0f} $/h" if abs(per_hour) >= 1000 else f"{figure(per_hour)} $/h"
