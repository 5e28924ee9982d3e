"""Off loopback the control plane is for those whose certificate says so. Real TLS."""

import datetime
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest

from orchestrator.api.servicer import bind, control_server
from orchestrator.authority.files import FileAuthority
from orchestrator.authority.parts import certify_part
from orchestrator.clock import SystemClock
from orchestrator.control.board import Board
from orchestrator.control.guard import Guard
from orchestrator.control.links import FrontLinkServicer, ReplicaLinkServicer
from orchestrator.control.observations import Observations
from protos.control.v1 import control_pb2, control_pb2_grpc
from protos.link.v1 import link_pb2, link_pb2_grpc
from tests.api.fake_control import FakeControl
from workers.identity.folder import IdentityFolder
from workers.identity.names import Role
from workers.identity.tls import asking_for, channel_credentials, server_credentials
from workers.probe.servicer import ProbeServicer

pytestmark = pytest.mark.real

NOW = datetime.datetime.now(datetime.UTC)


async def status(channel: grpc.aio.Channel) -> None:
    await control_pb2_grpc.ControlStub(channel).Status(control_pb2.StatusRequest(), timeout=10)


async def watch(channel: grpc.aio.Channel) -> None:
    changes = control_pb2_grpc.ControlStub(channel).Watch(control_pb2.WatchRequest(from_sequence=0), timeout=0.5)
    try:
        async for _ in changes:
            return
    except grpc.aio.AioRpcError as err:
        if err.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
            raise


async def front(channel: grpc.aio.Channel) -> None:
    stream = link_pb2_grpc.FrontLinkStub(channel).Attach(timeout=10)
    # No hello: whoever is let in hears what is missing.
    await stream.done_writing()
    assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT, await stream.details()


async def replica(channel: grpc.aio.Channel) -> None:
    report = link_pb2.ReplicaReport(replica="r", incarnation="i")
    async for _ in link_pb2_grpc.ReplicaLinkStub(channel).Register(iter([report]), timeout=10):
        return


async def echo(channel: grpc.aio.Channel) -> None:
    await link_pb2_grpc.ProbeStub(channel).Echo(link_pb2.EchoRequest(), timeout=10)


CALLS: dict[Role, tuple[Callable[[grpc.aio.Channel], Awaitable[None]], ...]] = {
    Role.OPERATOR: (status, watch),
    Role.FRONT: (front, echo),
    Role.REPLICA: (replica,),
    Role.NODE: (),
    Role.SERVICE: (),
}


class Plane:
    def __init__(self, folder: Path) -> None:
        self._folder, self._authority = folder, FileAuthority(folder / "authority", NOW)
        self.address = ""

    def certify(self, role: Role) -> IdentityFolder:
        folder = IdentityFolder(self._folder / role)
        certify_part(self._authority, folder, role, f"a-{role}", (), NOW)
        return folder

    def channel(self, role: Role) -> grpc.aio.Channel:
        options = (*asking_for(Role.CONTROL), ("grpc.use_local_subchannel_pool", 1))
        return grpc.aio.secure_channel(self.address, channel_credentials(self.certify(role)), options=options)


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    made, observations = Plane(tmp_path), Observations()
    extra = [
        lambda s: link_pb2_grpc.add_FrontLinkServicer_to_server(
            FrontLinkServicer(observations, Board(), SystemClock()), s
        ),
        lambda s: link_pb2_grpc.add_ReplicaLinkServicer_to_server(ReplicaLinkServicer(observations), s),
        lambda s: link_pb2_grpc.add_ProbeServicer_to_server(ProbeServicer(), s),
    ]
    server = await control_server(FakeControl(), extra, [Guard()])
    port = bind(server, "127.0.0.1:0", server_credentials(made.certify(Role.CONTROL)))
    made.address = f"127.0.0.1:{port}"
    async with AsyncExitStack() as ends:
        ends.push_async_callback(server.stop, 0)
        await server.start()
        yield made


@pytest.mark.parametrize("role", CALLS)
async def test_each_role_may_call_its_own_and_nothing_else(plane: Plane, role: Role) -> None:
    async with plane.channel(role) as channel:
        for call in CALLS[role]:
            await call(channel)
        for other in (status, watch, echo, replica):
            if other in CALLS[role]:
                continue
            with pytest.raises(grpc.aio.AioRpcError, match=f"and this certificate is of a {role}") as refused:
                await other(channel)
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_nobody_comes_without_a_certificate(plane: Plane) -> None:
    async with grpc.aio.insecure_channel(plane.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await status(channel)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
