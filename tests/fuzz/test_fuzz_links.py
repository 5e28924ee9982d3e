"""Any message on any link: what it reaches answers, refuses by name, or takes it; nothing else ever happens."""

import asyncio
import contextlib
import datetime
import tempfile
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.authority.files import FileAuthority
from orchestrator.clock import SystemClock
from orchestrator.control.joining import Joining
from orchestrator.control.observations import Observations
from orchestrator.errors import OrchestratorError
from orchestrator.front.merging import DeltaUnfounded
from orchestrator.front.nodes import Nodes
from orchestrator.front.orders import Orders, keep, restored
from orchestrator.model.ids import FrontName
from orchestrator.store import open_store
from protos.link.v1 import link_pb2 as pb
from tests.store_urls import sqlite_url
from tests.wire_strategies import messages
from workers.edge.agent import Agent
from workers.edge.events import AssignmentReceived, LinkLost, LinkOpened, Ticked
from workers.edge.state import StateFolder
from workers.edge.wire import assignment_from, report_to
from workers.gateway.tables import table_of

FUZZ = settings(max_examples=150, deadline=None)


@FUZZ
@given(st.lists(messages(pb.NodeMessage), max_size=6))
def test_a_front_takes_or_refuses_whatever_nodes_say(said: list[pb.NodeMessage]) -> None:
    nodes, sessions = Nodes(lambda: None), []
    nodes.know_sites(["s1", "default"])
    for at, message in enumerate(said):
        with contextlib.suppress(OrchestratorError):
            sessions.append(nodes.attach(message.hello, float(at)))
        for session in sessions:
            nodes.heard(session, float(at))
            with contextlib.suppress(OrchestratorError, DeltaUnfounded):
                nodes.reported(session, message.report, float(at))
    nodes.sweep(1e9)
    for state in nodes.states(1e9):
        assert pb.NodeState.FromString(state.SerializeToString()) == state


@FUZZ
@given(st.lists(st.one_of(messages(pb.FrontReport), messages(pb.ReplicaReport)), max_size=6))
def test_a_control_plane_takes_whatever_fronts_and_replicas_say(
    said: list[pb.FrontReport | pb.ReplicaReport],
) -> None:
    observations = Observations()
    for at, message in enumerate(said):
        if isinstance(message, pb.ReplicaReport):
            observations.replica_registered(message)
            continue
        session = observations.front_attached(message.hello, float(at))
        observations.front_reported(FrontName(message.hello.front), message, float(at))
        observations.observed(at + 1.0)
        observations.front_detached(FrontName(message.hello.front), session, at + 2.0)
    observed = observations.observed(100.0)
    assert set(map(str, observed.nodes)) == {str(node.node) for node in observed.nodes.values()}
    observations.legs(100.0)
    observations.fronts(100.0)
    observations.refused()


@FUZZ
@given(st.lists(messages(pb.Assignment), max_size=5))
def test_an_agent_takes_whatever_a_front_assigns(said: list[pb.Assignment]) -> None:
    agent = Agent("s1", "boot")
    agent.step(LinkOpened("f"), 0.0)
    for at, message in enumerate(said):
        for event in (AssignmentReceived(assignment_from(message)), LinkLost("cut"), Ticked(), LinkOpened("f")):
            for action in agent.step(event, float(at)):
                if report := getattr(action, "report", None):
                    report_to(report).SerializeToString()


@FUZZ
@given(messages(pb.Assignment))
def test_what_an_agent_keeps_it_reads_back(message: pb.Assignment) -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = StateFolder(Path(folder))
        state.save_assignment(assignment_from(message))
        assert state.assignment() == assignment_from(message)
        state.close()


@FUZZ
@given(st.sampled_from(["assignment.pb", "boots.json", "contact.json", "status.json"]), st.binary(max_size=200))
def test_an_agent_starts_whatever_its_files_hold(name: str, held: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(held)
        state = StateFolder(Path(folder))
        assert state.assignment() is None
        assert state.offline_s() >= 0.0
        assert 0 < state.next_boot().epoch < 2**64
        state.close()


@FUZZ
@given(st.lists(messages(pb.FrontOrders), max_size=4))
def test_a_front_obeys_or_ignores_whatever_it_is_ordered(said: list[pb.FrontOrders]) -> None:
    orders = Orders()
    for message in said:
        orders.take(message)
        table_of(message.routes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "orders"
        keep(path, orders.pieces())
        assert restored(path).whole() == orders.whole()
        spoilt = bytearray(path.read_bytes())
        spoilt[len(spoilt) // 2] ^= 1
        path.write_bytes(bytes(spoilt))
        assert restored(path).whole() == Orders().whole()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(messages(pb.JoinRequest), messages(pb.RenewRequest)), max_size=4))
def test_enrolment_refuses_whatever_strangers_send(said: list[pb.JoinRequest | pb.RenewRequest]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(sqlite_url(Path(folder)))
        authority = FileAuthority(Path(folder) / "authority", datetime.datetime.now(datetime.UTC))
        joining = Joining(store, authority, SystemClock(), lambda: ((), ()))
        for message in said:
            asked = joining.join(message) if isinstance(message, pb.JoinRequest) else joining.renew(message)
            with pytest.raises(OrchestratorError):
                asyncio.run(asked)
        assert store.list_objects("")[0] == []
        store.close()


@FUZZ
@given(st.sampled_from([pb.NodeMessage, pb.FrontMessage, pb.RelayCall, pb.RelayAnswer, pb.FrontOrders]), st.binary())
def test_bytes_that_are_no_message_are_told_from_one(of: type[pb.NodeMessage], data: bytes) -> None:
    try:
        message = of.FromString(data)
    except DecodeError:
        return
    assert of.FromString(message.SerializeToString()).SerializeToString() == message.SerializeToString()
