"""What a node reports as changes, laid onto what is known of it."""

from protos.link.v1 import link_pb2


class DeltaUnfounded(Exception):
    """There is nothing that the changes could be laid onto."""


def merged(before: link_pb2.NodeReport | None, report: link_pb2.NodeReport) -> link_pb2.NodeReport:
    """The node's whole state, numbers and what it kept left out. Raises DeltaUnfounded."""
    if report.delta and before is None:
        raise DeltaUnfounded(f"report {report.number} holds changes only, and no whole report came before it")
    whole = link_pb2.NodeReport(held_revision=report.held_revision)
    # Maps would do, were it not for their order: a report is compared with what it was, and sent on.
    replicas = {each.replica: each for each in before.replicas} if report.delta and before else {}
    demand = {(each.namespace, each.service): each for each in before.demand} if report.delta and before else {}
    for name in report.gone:
        replicas.pop(name, None)
    replicas.update((each.replica, each) for each in report.replicas)
    demand.update(((each.namespace, each.service), each) for each in report.demand)
    whole.replicas.extend(replicas.values())
    whole.demand.extend(demand.values())
    legs = before if report.delta and before and not report.legs else report
    whole.legs.extend(legs.legs)
    whole.legs_hold_ms = legs.legs_hold_ms
    used = before if report.delta and before and not report.HasField("usage") else report
    if used.HasField("usage"):
        whole.usage.CopyFrom(used.usage)
    return whole


def news_in(before: link_pb2.NodeReport, report: link_pb2.NodeReport) -> bool:
    """Whether the control plane should hear of it now: a replica came, went or changed its phase."""
    return _phases(before) != _phases(report)


def _phases(report: link_pb2.NodeReport) -> dict[str, tuple[str, int]]:
    return {each.replica: (each.incarnation, each.phase) for each in report.replicas}
