"""What nodes are told of a claim: where its replica runs, and what it may take."""

from orchestrator.control.publishing import NodeState, assignment, assignment_spec
from orchestrator.model.ids import NodeName
from orchestrator.model.specs import Isolation
from orchestrator.reconcile.assignments import AssignedReplica, assignments
from protos.link.v1 import link_pb2
from tests.placement.worlds import claim, service

SERVICE = service()
CLAIM = claim("edge-a", SERVICE)


def told(isolation: dict[object, Isolation]) -> AssignedReplica:
    (replica,) = assignments([], [CLAIM], {}, {}, 0.0, isolation=isolation)[NodeName("edge-a-0")]  # type: ignore[arg-type]
    return replica


def test_a_replica_is_told_its_isolation_and_its_share_of_the_cores() -> None:
    own = told({SERVICE.ref: Isolation.PROCESS})
    assert (own.isolation, own.compute_millis) == (Isolation.PROCESS, CLAIM.need.compute_millis)
    message = assignment(3, NodeState((own,))).replicas[0]
    assert (message.isolation, message.memory_bytes) == (link_pb2.ISOLATION_PROCESS, CLAIM.need.memory_bytes)
    assert message.compute_millis == CLAIM.need.compute_millis
    assert (
        assignment(3, NodeState((told({SERVICE.ref: Isolation.SHARED}),))).replicas[0].isolation
        == link_pb2.ISOLATION_SHARED
    )


def test_of_a_service_whose_policy_cannot_be_read_it_is_left_as_it_runs() -> None:
    replica = told({})
    assert replica.isolation is None
    assert assignment(3, NodeState((replica,))).replicas[0].isolation == link_pb2.ISOLATION_UNSPECIFIED
    assert '"isolation": None' in str(assignment_spec(NodeState((replica,)), 0, {})).replace("'", '"')
