"""A front with certificates: who may join, who may attach, and what a revocation ends. Real TLS, a real store."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest
from front_rig import ControlPlane, FrontProcess, Node, free_port, until

from orchestrator.authority.files import FileAuthority
from orchestrator.authority.parts import certify_part
from orchestrator.clock import SystemClock
from orchestrator.control.enrolment_link import EnrolmentServicer
from orchestrator.control.joining import Joining
from orchestrator.model.stored import Batch, Key, Owner, Put
from orchestrator.store import open_store
from protos.link.v1 import link_pb2, link_pb2_grpc
from tests.store_urls import sqlite_url
from workers.identity.folder import IdentityFolder
from workers.identity.keys import certificates_from_pem, fingerprint, request_for
from workers.identity.names import Role
from workers.identity.tls import asking_for, channel_credentials

pytestmark = pytest.mark.real

NOW = datetime.datetime.now(datetime.UTC)


class Certified(Node):
    """A node that attaches with what its folder holds."""

    folder: IdentityFolder
    credentials: grpc.ChannelCredentials | None = None  # in place of the folder's

    def _dial(self, address: str) -> grpc.aio.Channel:
        options = (("grpc.use_local_subchannel_pool", 1), *asking_for(Role.FRONT))
        channel = grpc.aio.secure_channel(
            address, self.credentials or channel_credentials(self.folder), options=options
        )
        self._channels.append(channel)
        return channel


class World:
    """A control plane that enrols for real, and a front with a certificate of its authority."""

    def __init__(self, ends: AsyncExitStack, folder: Path) -> None:
        self._ends, self.folder = ends, folder
        self.authority = FileAuthority(folder / "authority", NOW)
        self.store = open_store(sqlite_url(folder))
        ends.callback(self.store.close)
        self.store.commit(Batch((Put(Key("Site", "", "plant"), Owner.COMMAND, 0, {}, {}, {}),)))
        self.joining = Joining(
            self.store, self.authority, SystemClock(), lambda: ((self.front.link,), (self.enrolment,))
        )
        self.enrolment = f"127.0.0.1:{free_port()}"
        self.control: ControlPlane
        self.front: FrontProcess

    def addresses(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (self.front.link,), (self.enrolment,)

    async def begin(self) -> "World":
        self.certify("front-0")
        self.control = ControlPlane(link_pb2.FrontOrders(epoch=1, sites=["plant"]))
        servicer = EnrolmentServicer(self.joining, self.authority)
        link_pb2_grpc.add_EnrolmentServicer_to_server(servicer, self.control._server)
        await self.control.start()
        self._ends.push_async_callback(self.control.kill)
        self.front = await FrontProcess(self.folder / "front", self.control.port).start(self.secured)
        self._ends.push_async_callback(self.front.stop, 9)
        return self

    @property
    def secured(self) -> list[str]:
        return ["--identity-dir", str(self.folder / "front-0"), "--enrolment", self.enrolment]

    def certify(self, name: str, role: Role = Role.FRONT, now: datetime.datetime = NOW) -> IdentityFolder:
        folder = IdentityFolder(self.folder / name)
        certify_part(self.authority, folder, role, name, ("127.0.0.1",), now)
        return folder

    async def token(self, uses: int = 10) -> str:
        return (await self.joining.create_tokens("plant", uses, 600.0, {}, 1))[0].text

    def enrolment_channel(self) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials((self.folder / "authority" / "authority.pem").read_bytes())
        return grpc.aio.secure_channel(self.enrolment, credentials, options=asking_for(Role.FRONT))

    async def joined(self, node: str, token: str = "") -> Certified:
        folder = IdentityFolder(self.folder / node)
        request = link_pb2.JoinRequest(
            token=token or await self.token(), node=node, request_pem=request_for(folder.key(), node)
        )
        async with self.enrolment_channel() as channel:
            certified = await link_pb2_grpc.EnrolmentStub(channel).Join(request, timeout=10)
        folder.save(certified.certificate_pem, certified.authority_pem)
        made = Certified(node)
        made.folder = folder
        self._ends.push_async_callback(made.leave)
        return made

    def revoke(self, *nodes: Certified) -> None:
        keys = [one.folder.held().fingerprint for one in nodes]
        orders = link_pb2.FrontOrders(epoch=1, revocations=link_pb2.Revocations(keys=keys))
        self.control.order(orders)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as ends:
        yield await World(ends, tmp_path).begin()


def code_of(refused: pytest.ExceptionInfo[grpc.aio.AioRpcError]) -> grpc.StatusCode:
    return refused.value.code()


async def test_a_machine_joins_through_the_front_and_attaches(world: World) -> None:
    node = await world.joined("n1")
    await node.attach(world.front.link)
    await node.relay(world.front.link)
    await until(lambda: (state := world.control.state("n1")) is not None and state.attached, "n1 attached")


async def test_the_door_for_machines_says_why_it_refuses(world: World) -> None:
    token = await world.token(uses=1)
    await world.joined("n1", token)
    for given, code, said in (
        (token, grpc.StatusCode.UNAUTHENTICATED, "used up"),
        ("nonsense", grpc.StatusCode.UNAUTHENTICATED, "copy it whole"),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match=said) as refused:
            await world.joined("n2", given)
        assert code_of(refused) is code
    await world.control.kill()
    with pytest.raises(grpc.aio.AioRpcError, match="the control plane does not answer this front") as refused:
        await world.joined("n3", token)
    assert code_of(refused) is grpc.StatusCode.UNAVAILABLE


async def test_the_authority_is_shown_to_whoever_asks(world: World) -> None:
    async with world.enrolment_channel() as channel:
        reply = await link_pb2_grpc.EnrolmentStub(channel).Authority(link_pb2.AuthorityRequest(), timeout=10)
    shown = certificates_from_pem(reply.authority_pem, "shown")
    assert [fingerprint(one) for one in shown] == [fingerprint(one) for one in world.authority.certificates]


async def test_a_node_is_who_its_certificate_says(world: World) -> None:
    node = await world.joined("n1")
    node.name = "n2"
    with pytest.raises(
        grpc.aio.AioRpcError, match="certificate is of node n1 of site plant, and says it is node n2"
    ) as no:
        await node.attach(world.front.link)
    assert code_of(no) is grpc.StatusCode.PERMISSION_DENIED
    node.name, node.site = "n1", "harbour"
    with pytest.raises(grpc.aio.AioRpcError, match="of site harbour"):
        await node.attach(world.front.link)


async def test_only_nodes_come_in_by_the_link(world: World) -> None:
    for role in (Role.FRONT, Role.OPERATOR, Role.SERVICE):
        intruder = Certified("n1")
        intruder.folder = world.certify(f"a-{role}", role)
        with pytest.raises(grpc.aio.AioRpcError, match="this address is for nodes"):
            await intruder.attach(world.front.link)
        await intruder.leave()


async def test_without_a_certificate_of_this_authority_nobody_comes_in(world: World, tmp_path: Path) -> None:
    plain, stranger, late = Node("n1"), Certified("n1"), Certified("n1")
    other = FileAuthority(tmp_path / "other", NOW)
    stranger.folder = IdentityFolder(tmp_path / "stranger")
    certify_part(other, stranger.folder, Role.NODE, "n1", (), NOW)
    held = stranger.folder.held()
    trusting = (tmp_path / "authority" / "authority.pem").read_bytes()  # the front is believed; it must not believe us
    stranger.credentials = grpc.ssl_channel_credentials(trusting, held.key_pem, held.certificate_pem)
    late.folder = world.certify("late", Role.NODE, NOW - datetime.timedelta(days=400))
    for intruder in (plain, stranger, late):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await intruder.attach(world.front.link)
        assert code_of(refused) is grpc.StatusCode.UNAVAILABLE
        await intruder.leave()
    await (await world.joined("n1")).attach(world.front.link)


async def test_revoking_a_key_ends_its_streams_at_once_and_nobody_elses(world: World) -> None:
    gone, stays = await world.joined("n1"), await world.joined("n2")
    for node in (gone, stays):
        await node.attach(world.front.link)
        await node.relay(world.front.link)
    world.revoke(gone)
    await until(gone.stream.done, "the stream of n1 ended")
    assert await gone.stream.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "its enrolment was ended: join again with --anew and a new token" in (await gone.stream.details() or "")
    await until(gone.serve.done, "its relay ended")
    with pytest.raises(grpc.aio.AioRpcError, match="enrolment") as refused:
        await gone.attach(world.front.link)
    assert code_of(refused) is grpc.StatusCode.PERMISSION_DENIED
    await gone.relay(world.front.link)
    assert await gone.serve.code() is grpc.StatusCode.PERMISSION_DENIED
    assert not stays.stream.done()
    assert not stays.serve.done()


async def test_a_revoked_key_gets_neither_artifacts_nor_echoes(world: World) -> None:
    node = await world.joined("n1")
    channel = node._dial(world.front.link)
    echo, bulk = link_pb2_grpc.ProbeStub(channel), link_pb2_grpc.BulkStub(channel)
    await echo.Echo(link_pb2.EchoRequest(reply_bytes=1), timeout=10)
    world.revoke(node)

    async def echo_on() -> None:
        for _ in range(1_000):
            await echo.Echo(link_pb2.EchoRequest(), timeout=10)
            await asyncio.sleep(0.01)

    with pytest.raises(grpc.aio.AioRpcError, match="enrolment") as refused:
        await echo_on()
    assert code_of(refused) is grpc.StatusCode.PERMISSION_DENIED
    fetch = bulk.Fetch(link_pb2.FetchRequest(digest=f"sha256:{'0' * 64}"), timeout=10)
    assert await fetch.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_front_that_restarts_alone_remembers_whom_it_must_refuse(world: World) -> None:
    node = await world.joined("n1")
    await node.attach(world.front.link)
    world.revoke(node)
    await until(node.stream.done, "ended")
    await until(lambda: (world.folder / "front" / "front-front-0.orders").exists(), "orders kept")
    await world.control.kill()
    await world.front.stop()
    await world.front.start(world.secured)
    with pytest.raises(grpc.aio.AioRpcError, match="enrolment"):
        await node.attach(world.front.link)


async def test_a_renewed_certificate_of_the_front_is_shown_without_a_stream_noticing(world: World) -> None:
    node = await world.joined("n1")
    await node.attach(world.front.link)

    def shown() -> str:
        host, port = world.enrolment.split(":")
        return ssl.get_server_certificate((host, int(port)))

    before = await asyncio.to_thread(shown)
    world.certify("front-0", now=NOW + datetime.timedelta(days=2))
    await asyncio.to_thread(lambda: None)
    after = await asyncio.to_thread(shown)
    assert after != before
    assert not node.stream.done()


async def test_what_is_spoken_is_tls_13(world: World) -> None:
    context = ssl.create_default_context(cadata=(world.folder / "authority" / "authority.pem").read_text())
    context.check_hostname = False
    host, port = world.enrolment.split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=Role.FRONT.host)
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
    writer.close()
