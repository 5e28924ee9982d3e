"""Sessions of attached nodes: fencing, silence, assignments, sites."""

import pytest

from orchestrator.errors import EdgeUnreachable, EpochStale, NodeUnknown
from orchestrator.front.nodes import SILENT_BEATS, Nodes
from protos.link.v1 import link_pb2


def hello(node: str = "n", epoch: int = 1, site: str = "plant") -> link_pb2.NodeHello:
    return link_pb2.NodeHello(node=node, epoch=epoch, site=site)


def report(phase: link_pb2.ReplicaPhase.ValueType, fetched: int = 0) -> link_pb2.NodeReport:
    replica = link_pb2.ReplicaState(replica="r", incarnation="r-1", phase=phase, fetched_bytes=fetched)
    return link_pb2.NodeReport(replicas=[replica])


class Attends:
    """Counts how often there was something to tell."""

    def __init__(self) -> None:
        self.calls = 0

    def attend(self) -> None:
        self.calls += 1


class Watched:
    """Nodes, and how often the control plane was to hear of a change at once."""

    def __init__(self) -> None:
        self.changes = 0
        self.nodes = Nodes(self._changed, heartbeat_ms=1000)

    def _changed(self) -> None:
        self.changes += 1

    def news(self) -> int:
        seen, self.changes = self.changes, 0
        return seen


async def test_a_newer_or_equal_epoch_takes_over_and_an_older_one_is_refused() -> None:
    nodes = Nodes(lambda: None)
    first = nodes.attach(hello(epoch=5), 0.0)
    with pytest.raises(EpochStale, match="epoch 4 is older than 5"):
        nodes.attach(hello(epoch=4), 0.1)
    assert first.ended is None, "refusing another changes nothing for the one attached"
    same = nodes.attach(hello(epoch=5), 0.2)
    assert isinstance(first.ended, EpochStale)
    newer = nodes.attach(hello(epoch=6), 0.3)
    assert isinstance(same.ended, EpochStale)
    assert nodes.is_current("n", newer.name)
    assert not nodes.is_current("n", same.name)


async def test_of_a_cloned_disk_whoever_is_attached_stays_and_the_other_stays_out() -> None:
    def boots(id: str, *before: str, epoch: int) -> link_pb2.NodeHello:
        return link_pb2.NodeHello(node="n", site="s", epoch=epoch, boot=id, boots_before=before)

    nodes = Nodes(lambda: None)
    first = nodes.attach(boots("a", epoch=5), 0.0)
    rebooted = nodes.attach(boots("c", "b", "a", epoch=7), 0.1)  # "b" never attached
    assert first.ended is not None
    clone = nodes.attach(boots("d", "c", "b", "a", epoch=8), 0.2)  # copied while it ran: taken for its next boot
    assert rebooted.ended is not None
    for epoch in (9, 10):
        with pytest.raises(EpochStale, match="another machine with this node's identity is attached"):
            nodes.attach(boots(f"e{epoch}", "c", "b", "a", epoch=epoch), 0.3)
    assert clone.ended is None
    assert nodes.attach(boots("d", "c", "b", "a", epoch=8), 0.4).ended is None, "the same boot dials again"
    assert nodes.attach(boots("z", epoch=11), 0.5).ended is None, "a new disk knows of no boot before"
    nodes.detach(nodes.attach(boots("y", "z", epoch=12), 0.6), EdgeUnreachable("gone"))
    assert nodes.attach(boots("q", "p", epoch=13), 0.7).ended is None, "nobody is attached"


async def test_the_end_of_a_fenced_stream_does_not_detach_its_successor() -> None:
    nodes = Nodes(lambda: None)
    older = nodes.attach(hello(epoch=1), 0.0)
    nodes.attach(hello(epoch=2), 0.1)
    nodes.detach(older, EdgeUnreachable("its stream broke"))
    (state,) = nodes.states(0.2)
    assert state.attached
    assert state.hello.epoch == 2


async def test_a_detached_node_may_come_back_with_any_epoch() -> None:
    """A node that was set up anew counts its boots from one."""
    nodes = Nodes(lambda: None)
    nodes.detach(nodes.attach(hello(epoch=9), 0.0), EdgeUnreachable("gone"))
    assert nodes.attach(hello(epoch=1), 1.0).ended is None


async def test_silence_detaches_and_its_last_state_is_kept() -> None:
    watched = Watched()
    nodes = watched.nodes
    silent, talking = nodes.attach(hello("silent"), 0.0), nodes.attach(hello("talking"), 0.0)
    silent.attends = called = Attends()
    nodes.reported(silent, report(link_pb2.REPLICA_PHASE_READY), 0.0)
    watched.news()
    for now_s in range(1, SILENT_BEATS + 1):
        nodes.heard(talking, float(now_s))
        assert nodes.sweep(float(now_s)) == []
    assert nodes.sweep(SILENT_BEATS + 0.1) == ["silent"]
    assert watched.news() == 1
    assert isinstance(silent.ended, EdgeUnreachable)
    assert called.calls == 1
    assert nodes.sweep(SILENT_BEATS + 0.2) == [], "said once"
    kept, other = nodes.states(10.0)
    assert not kept.attached
    assert kept.silent_ms == 10_000
    assert kept.report.replicas[0].phase == link_pb2.REPLICA_PHASE_READY
    assert "silent for over 3 s" in kept.link_error
    assert other.attached
    assert other.link_error == ""


async def test_a_node_silent_for_a_day_is_forgotten() -> None:
    nodes = Nodes(lambda: None)
    nodes.attach(hello(), 0.0)
    nodes.sweep(10.0)
    nodes.sweep(24 * 3600.0)
    assert nodes.states(24 * 3600.0)
    nodes.sweep(24 * 3600.0 + 1)
    assert nodes.states(24 * 3600.0 + 1) == []


async def test_phases_are_news_and_progress_is_not() -> None:
    watched = Watched()
    session = watched.nodes.attach(hello(), 0.0)
    assert watched.news() == 1
    told = [
        (report(link_pb2.REPLICA_PHASE_FETCHING), 1),
        (report(link_pb2.REPLICA_PHASE_FETCHING, fetched=5), 0),
        (report(link_pb2.REPLICA_PHASE_READY), 1),
        (link_pb2.NodeReport(), 1),
    ]
    for sent, news in told:
        watched.nodes.reported(session, sent, 1.0)
        assert watched.news() == news
    watched.nodes.detach(session, EdgeUnreachable("gone"))
    assert watched.news() == 1


async def test_unknown_sites_are_refused_with_the_remedy_and_known_ones_stay() -> None:
    nodes = Nodes(lambda: None)
    early = nodes.attach(hello("early", site="nowhere"), 0.0)
    fine = nodes.attach(hello("fine"), 0.0)
    nodes.know_sites(["plant"])
    assert isinstance(early.ended, NodeUnknown)
    assert fine.ended is None
    with pytest.raises(NodeUnknown, match="apply a Site named 'nowhere'"):
        nodes.attach(hello("late", site="nowhere"), 1.0)
    nodes.know_sites(["plant", "nowhere"])
    assert nodes.attach(hello("late", site="nowhere"), 2.0).ended is None


async def test_an_assignment_wakes_its_node_only() -> None:
    nodes = Nodes(lambda: None)
    told = {name: Attends() for name in ("a", "b")}
    for name, attends in told.items():
        nodes.attach(hello(name), 0.0).attends = attends
    assignment = link_pb2.Assignment(revision=3).SerializeToString()
    nodes.assign({"a": assignment})
    assert (told["a"].calls, told["b"].calls) == (1, 0)
    assert nodes.assignment("a") == assignment
    assert nodes.assignment("b") is None
