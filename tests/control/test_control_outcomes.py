"""How a version does on its sites' own LANs, as their nodes report it."""

from orchestrator.control.refusals import Refusals
from orchestrator.control.reported_demand import ReportedDemand
from orchestrator.model.ids import NodeName, ServiceRef
from protos.link.v1 import link_pb2

DIGITS = ServiceRef("default", "digits")


def report(demand: ReportedDemand, calls: int, failed: int, now_s: float, epoch: int = 1, node: str = "n") -> None:
    hello = link_pb2.NodeHello(node=node, site="edge-a", epoch=epoch)
    lan = link_pb2.LanDemand(namespace="default", service="digits", calls=calls, failed=failed)
    state = link_pb2.NodeState(hello=hello, report=link_pb2.NodeReport(demand=[lan]))
    demand.node_reported(NodeName(node), state, now_s)


def test_calls_and_failures_count_from_a_moment_on_over_all_nodes_of_a_site() -> None:
    demand = ReportedDemand(Refusals())
    report(demand, 100, 100, 0.0)  # from before anybody listened
    report(demand, 110, 102, 10.0)
    report(demand, 140, 102, 20.0)
    report(demand, 0, 0, 20.0, node="m")
    report(demand, 5, 5, 25.0, node="m")
    assert demand.outcomes(DIGITS, 0.0) == {"edge-a": (45, 7)}
    assert demand.outcomes(DIGITS, 10.0) == {"edge-a": (35, 5)}
    assert demand.outcomes(DIGITS, 25.0) == {}
    assert demand.outcomes(ServiceRef("default", "other"), 0.0) == {}


def test_a_boot_counts_anew_and_nobody_fails_more_than_calls() -> None:
    demand = ReportedDemand(Refusals())
    report(demand, 100, 0, 0.0)
    report(demand, 10, 90, 10.0, epoch=2)
    assert demand.outcomes(DIGITS, 0.0) == {"edge-a": (10, 10)}
