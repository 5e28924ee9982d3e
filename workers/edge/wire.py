"""Between the wire's messages and the agent's values."""

from protos.link.v1 import link_pb2 as pb
from workers.artifacts.trust import Trust
from workers.edge.assignment import (
    Artifact,
    Assignment,
    Content,
    Isolation,
    LanDemand,
    PeerNode,
    Phase,
    ReplicaAssignment,
    ReplicaState,
    Report,
)
from workers.edge.resources import Machine, Usage
from workers.probe.wire import leg_message

MOST_REASON = 2_000  # characters of a reason; a traceback of a runtime may have any number

_PHASES = {
    Phase.FETCHING: pb.REPLICA_PHASE_FETCHING,
    Phase.STARTING: pb.REPLICA_PHASE_STARTING,
    Phase.READY: pb.REPLICA_PHASE_READY,
    Phase.DRAINING: pb.REPLICA_PHASE_DRAINING,
    Phase.STOPPED: pb.REPLICA_PHASE_STOPPED,
    Phase.FAILED: pb.REPLICA_PHASE_FAILED,
}

_ISOLATIONS = {
    Isolation.UNTOLD: pb.ISOLATION_UNSPECIFIED,
    Isolation.SHARED: pb.ISOLATION_SHARED,
    Isolation.PROCESS: pb.ISOLATION_PROCESS,
}
_TOLD = {number: isolation for isolation, number in _ISOLATIONS.items()}


def assignment_from(message: pb.Assignment) -> Assignment:
    return Assignment(
        message.revision,
        tuple(_replica_from(each) for each in message.replicas),
        _trust_from(message.trust) if message.HasField("trust") else None,
        tuple(PeerNode(each.node, each.address) for each in message.peers),
    )


def assignment_to(assignment: Assignment) -> pb.Assignment:
    return pb.Assignment(
        revision=assignment.revision,
        replicas=[_replica_to(each) for each in assignment.replicas],
        trust=_trust_to(assignment.trust) if assignment.trust else None,
        peers=[pb.PeerNode(node=each.node, address=each.address) for each in assignment.peers],
    )


def report_to(report: Report) -> pb.NodeReport:
    return pb.NodeReport(
        held_revision=report.held_revision,
        replicas=[state_to(state) for state in report.replicas],
        legs=[leg_message(leg) for leg in report.legs],
        demand=[demand_to(each) for each in report.demand],
        usage=None if report.usage is None else usage_to(report.usage),
    )


def demand_to(demand: LanDemand) -> pb.LanDemand:
    return pb.LanDemand(
        namespace=demand.namespace,
        service=demand.service,
        calls=demand.calls,
        failed=demand.failed,
        request_bytes=demand.request_bytes,
        response_bytes=demand.response_bytes,
    )


def state_to(state: ReplicaState) -> pb.ReplicaState:
    return pb.ReplicaState(
        replica=state.replica,
        incarnation=state.incarnation,
        phase=_PHASES[state.phase],
        reason=state.reason[:MOST_REASON],
        fetched_bytes=state.fetched_bytes,
        total_bytes=state.total_bytes,
        restarts=state.restarts,
    )


def machine_to(machine: Machine) -> pb.Machine:
    return pb.Machine(
        architecture=machine.architecture,
        kernel=machine.kernel,
        system=machine.system,
        cpus=machine.cpus,
        memory_bytes=machine.memory_bytes,
        disk_bytes=machine.disk_bytes,
        accelerators=[
            pb.Accelerator(kind=each.kind, name=each.name, device=each.device) for each in machine.accelerators
        ],
    )


def usage_to(usage: Usage) -> pb.Usage:
    return pb.Usage(
        sample=usage.sample,
        cpu_share=usage.cpu_share,
        memory_available_bytes=usage.memory_available_bytes,
        agent_bytes=usage.agent_bytes,
        replicas_bytes=usage.replicas_bytes,
        disk_free_bytes=usage.disk_free_bytes,
        temperature_c=usage.temperature_c,
    )


def _replica_from(message: pb.ReplicaAssignment) -> ReplicaAssignment:
    sent = message.artifact
    artifact = Artifact(sent.digest, sent.size_bytes, sent.format, sent.manifest, sent.signature)
    isolation = _TOLD.get(message.isolation, Isolation.UNTOLD)
    namespace = message.namespace or "default"
    return ReplicaAssignment(
        content=Content(message.replica, namespace, message.service, message.version, artifact, isolation),
        memory_bytes=message.memory_bytes,
        decision=message.decision,
        valid_offline_s=message.valid_offline_s,
        draining=message.draining,
        compute_millis=message.compute_millis,
        rollout_bps=message.rollout_bps,
        single_writer=message.single_writer,
    )


def _replica_to(replica: ReplicaAssignment) -> pb.ReplicaAssignment:
    content, artifact = replica.content, replica.content.artifact
    return pb.ReplicaAssignment(
        replica=content.replica,
        namespace=content.namespace,
        service=content.service,
        version=content.version,
        artifact=pb.Artifact(
            digest=artifact.digest,
            size_bytes=artifact.size_bytes,
            format=artifact.format,
            manifest=artifact.manifest,
            signature=artifact.signature,
        ),
        memory_bytes=replica.memory_bytes,
        decision=replica.decision,
        valid_offline_s=replica.valid_offline_s,
        draining=replica.draining,
        isolation=_ISOLATIONS[content.isolation],
        compute_millis=replica.compute_millis,
        rollout_bps=replica.rollout_bps,
        single_writer=replica.single_writer,
    )


def _trust_from(message: pb.Trust) -> Trust:
    revoked = frozenset(message.revoked_keys), frozenset(message.revoked_artifacts)
    return Trust(tuple(message.keys), *revoked, message.valid_s)


def _trust_to(trust: Trust) -> pb.Trust:
    return pb.Trust(
        keys=trust.keys,
        revoked_keys=sorted(trust.revoked_keys),
        revoked_artifacts=sorted(trust.revoked_artifacts),
        valid_s=trust.valid_s,
    )
