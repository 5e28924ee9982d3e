"""A replica that its node starts again is no failed version, until it has ended so often that it is."""

import pytest

from orchestrator.control.observations import Observations
from orchestrator.control.statuses import version_failures
from orchestrator.control.world import World
from protos.link.v1 import link_pb2
from tests.objects.documents_by_kind import document, stored, variant
from tests.placement.worlds import claim, service

SERVICE = service(version="digits-2")
CLAIM = claim("edge-a", SERVICE)
VERSION = stored(document("ModelVersion", {"model": "digits", "variants": [variant()]}, name="digits-2"))
WORLD = World({"ModelVersion": {VERSION.key: VERSION}}, (CLAIM,), {})


@pytest.mark.parametrize(("restarts", "fails"), [(0, True), (1, False), (2, False), (3, True), (9, True)])
def test_a_version_fails_where_it_does_not_load_or_ends_three_times_in_a_row(restarts: int, fails: bool) -> None:
    state = link_pb2.ReplicaState(
        replica=CLAIM.id, phase=link_pb2.REPLICA_PHASE_FAILED, reason="ended by SIGSEGV", restarts=restarts
    )
    hello = link_pb2.NodeHello(node="edge-a-0", site="edge-a", epoch=1)
    node = link_pb2.NodeState(hello=hello, report=link_pb2.NodeReport(replicas=[state]), attached=True)
    seen = Observations()
    seen.front_attached(link_pb2.FrontHello(front="f", region="local"), 1.0)
    seen.front_reported("f", link_pb2.FrontReport(nodes=[node]), 1.0)  # type: ignore[arg-type]
    puts = version_failures(WORLD, [CLAIM], seen.observed(1.0), {})
    assert bool(puts) is fails
    if fails:
        assert "at edge-a: ended by SIGSEGV" in str(puts[0].status)
