"""gRPC with identities: whom each side lets in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from protos.link.v1 import link_pb2 as pb
from protos.link.v1 import link_pb2_grpc
from tests.authority import DAY, TestAuthority, foreign_leaf, now
from workers.identity.errors import NotTrusted
from workers.identity.folder import AUTHORITY, CERTIFICATE, IdentityFolder
from workers.identity.keys import certificates_from_pem, certificates_to_pem
from workers.identity.names import Identity, Role
from workers.identity.tls import asking_for, caller, channel_credentials, server_credentials

pytestmark = pytest.mark.real

WAIT_S = 10.0


class Prober(link_pb2_grpc.ProbeServicer):
    def __init__(self) -> None:
        self.callers: list[Identity] = []
        self.serials: list[int] = []

    async def Echo(self, request: pb.EchoRequest, context: Any) -> pb.EchoReply:  # noqa: N802
        try:
            identity, _ = caller(context.auth_context())
        except NotTrusted as err:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(err))
            raise
        self.callers.append(identity)
        (pem,) = context.auth_context()["x509_pem_cert"]
        self.serials.append(certificates_from_pem(pem, "the caller's")[0].serial_number)
        return pb.EchoReply(payload=request.payload)


@asynccontextmanager
async def served(folder: IdentityFolder, callers: bool = True) -> AsyncIterator[tuple[Prober, str]]:
    server, prober = grpc.aio.server(), Prober()
    link_pb2_grpc.add_ProbeServicer_to_server(prober, server)
    port = server.add_secure_port("127.0.0.1:0", server_credentials(folder, callers))
    await server.start()
    try:
        yield prober, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def echoed(address: str, credentials: grpc.ChannelCredentials, role: Role = Role.FRONT) -> grpc.StatusCode:
    async with grpc.aio.secure_channel(address, credentials, options=asking_for(role)) as channel:
        try:
            await link_pb2_grpc.ProbeStub(channel).Echo(pb.EchoRequest(), timeout=WAIT_S)
        except grpc.aio.AioRpcError as err:
            return err.code()
        return grpc.StatusCode.OK


@pytest.fixture
def authority() -> TestAuthority:
    return TestAuthority()


@pytest.fixture
def front(authority: TestAuthority, tmp_path: Path) -> IdentityFolder:
    return authority.enrol(tmp_path / "front", Role.FRONT, "f1")


@pytest.fixture
def node(authority: TestAuthority, tmp_path: Path) -> IdentityFolder:
    return authority.enrol(tmp_path / "node", Role.NODE, "n1", "s1")


async def test_each_side_knows_the_other(front: IdentityFolder, node: IdentityFolder) -> None:
    async with served(front) as (prober, address):
        assert await echoed(address, channel_credentials(node)) is grpc.StatusCode.OK
    assert prober.callers == [Identity("test", Role.NODE, "n1", "s1")]


async def test_a_server_of_another_role_is_not_talked_to(node: IdentityFolder) -> None:
    """A node's certificate is of the right authority, and may serve: its LAN, but not as a front."""
    async with served(node) as (prober, address):
        assert await echoed(address, channel_credentials(node)) is grpc.StatusCode.UNAVAILABLE
        assert await echoed(address, channel_credentials(node), Role.NODE) is grpc.StatusCode.OK
    assert len(prober.callers) == 1


async def test_callers_of_another_authority_or_with_none_are_not_served(front: IdentityFolder, tmp_path: Path) -> None:
    authority = certificates_to_pem(certificates_from_pem(front.held().authority_pem, "it"))
    stranger = TestAuthority().enrol(tmp_path / "stranger", Role.NODE, "n1", "s1").held()
    strange = grpc.ssl_channel_credentials(authority, stranger.key_pem, stranger.certificate_pem)
    async with served(front) as (prober, address):
        assert await echoed(address, strange) is grpc.StatusCode.UNAVAILABLE
        assert await echoed(address, grpc.ssl_channel_credentials(authority)) is grpc.StatusCode.UNAVAILABLE
    assert prober.callers == []


async def test_a_caller_whose_certificate_ended_is_not_served(
    front: IdentityFolder, authority: TestAuthority, tmp_path: Path
) -> None:
    ended = authority.enrol(tmp_path / "ended", Role.NODE, "n1", "s1", begins=now() - 3 * DAY, ends=now() - DAY)
    async with served(front) as (prober, address):
        assert await echoed(address, channel_credentials(ended)) is grpc.StatusCode.UNAVAILABLE
    assert prober.callers == []


async def test_a_leaf_alone_is_root_enough_and_only_for_itself(
    front: IdentityFolder, authority: TestAuthority, tmp_path: Path
) -> None:
    """What joining stands on: gRPC takes a partial chain, and nobody but the key's holder gets through."""
    leaf = front.held().certificate_pem
    another = authority.enrol(tmp_path / "another", Role.FRONT, "f2")
    async with served(front, callers=False) as (_, address):
        assert await echoed(address, grpc.ssl_channel_credentials(leaf)) is grpc.StatusCode.UNAUTHENTICATED
        other_leaf = grpc.ssl_channel_credentials(another.held().certificate_pem)
        assert await echoed(address, other_leaf) is grpc.StatusCode.UNAVAILABLE
        assert await echoed(address, grpc.ssl_channel_credentials(foreign_leaf()[1])) is grpc.StatusCode.UNAVAILABLE


async def test_a_renewed_certificate_is_shown_at_the_next_handshake_and_streams_live_on(
    front: IdentityFolder, node: IdentityFolder, authority: TestAuthority
) -> None:
    async with (
        served(front) as (prober, address),
        grpc.aio.secure_channel(address, channel_credentials(node), options=asking_for(Role.FRONT)) as channel,
    ):
        stub = link_pb2_grpc.ProbeStub(channel)
        await stub.Echo(pb.EchoRequest(), timeout=WAIT_S)
        for folder, role, name, site in ((front, Role.FRONT, "f1", ""), (node, Role.NODE, "n1", "s1")):
            folder.save(authority.issue(folder.key(), role, name, site), authority.pem)
        assert await echoed(address, channel_credentials(node)) is grpc.StatusCode.OK
        await stub.Echo(pb.EchoRequest(), timeout=WAIT_S)
        shown = await asyncio.to_thread(leaf_shown, address, node)
    former, renewed, again = prober.serials
    assert former == again != renewed == node.held().certificate.serial_number
    assert shown == front.held().certificate.serial_number


def leaf_shown(address: str, node: IdentityFolder) -> int:
    import ssl

    host, _, port = address.rpartition(":")
    pem = ssl.get_server_certificate((host, int(port)))
    return certificates_from_pem(pem.encode(), "shown")[0].serial_number


@pytest.mark.parametrize("name", [CERTIFICATE, AUTHORITY])
async def test_a_server_goes_on_with_what_it_had_when_a_file_is_spoilt(
    front: IdentityFolder, node: IdentityFolder, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(front) as (_, address):
        data = (front.root / name).read_bytes()
        (front.root / name).write_bytes(data[:100])
        assert await echoed(address, channel_credentials(node)) is grpc.StatusCode.OK
        assert "cannot read the renewed certificate; going on with the former" in caplog.text
        (front.root / name).write_bytes(data)
        assert await echoed(address, channel_credentials(node)) is grpc.StatusCode.OK


def test_no_certificate_is_nobody() -> None:
    with pytest.raises(NotTrusted, match="no certificate"):
        caller({})
