"""Nodes of one site over their LAN: what this one gives them, and how it asks them.

A node asks its neighbours before the front. When several lack the same artifact at once, the order of the assignment
says who fetches it over the WAN: the others wait for chunks of those before them, and never the other way round.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import grpc.aio

from protos.link.v1 import link_pb2 as pb
from protos.link.v1 import link_pb2_grpc
from workers.artifacts.assembly import Assembly
from workers.artifacts.disk import ArtifactFolder
from workers.artifacts.errors import ArtifactError, ArtifactUnknown
from workers.artifacts.giving import MESSAGE_BYTES, messages, spans
from workers.edge.assignment import PeerNode
from workers.edge.giver import Giver
from workers.identity.connecting import Connector, on_loopback
from workers.identity.errors import IdentityError, NotEnrolled, NotTrusted
from workers.identity.folder import IdentityFolder
from workers.identity.names import Role
from workers.identity.tls import caller, server_credentials

CONNECT_S = 1.0  # a LAN answers sooner
BEGIN_S = 1.0  # how long a neighbour waits for what this node may be about to fetch
ALIVE_EVERY_S = 5.0
STREAMS_MOST = 8

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

_log = logging.getLogger(__name__)


class UnderWay:
    """An artifact that is being fetched, as far as it is right."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self._moved = asyncio.Condition()
        self.ended: bool | None = None  # True: it is whole

    async def move(self, ended: bool | None = None) -> None:
        async with self._moved:
            self.ended = ended
            self._moved.notify_all()

    async def until_moved(self) -> None:
        async with self._moved:
            await self._moved.wait()


class Stock:
    """What this node has, and what is on its way."""

    def __init__(self, folder: ArtifactFolder) -> None:
        self.folder = folder
        self._under_way: dict[str, UnderWay] = {}
        self._begun = asyncio.Condition()

    async def begin(self, assembly: Assembly) -> UnderWay:
        async with self._begun:
            found = self._under_way[assembly.manifest.artifact] = UnderWay(assembly)
            self._begun.notify_all()
        return found

    async def end(self, under_way: UnderWay, whole: bool) -> None:
        del self._under_way[under_way.assembly.manifest.artifact]
        await under_way.move(whole)

    async def under_way(self, digest: str) -> UnderWay | None:
        """Waits a little for one that is about to begin."""
        try:
            async with asyncio.timeout(BEGIN_S), self._begun:
                await self._begun.wait_for(lambda: digest in self._under_way)
        except TimeoutError:
            return None
        return self._under_way.get(digest)


class PeerServer(link_pb2_grpc.PeerServicer):
    """Listens beside the LAN gateway; `start` once, `stop` once."""

    def __init__(self, lan_address: str, site: str = "", identity: IdentityFolder | None = None) -> None:
        """`lan_address` "": it listens on nothing, and gives nobody anything.

        Beyond loopback callers must prove that they are nodes of `site`. Raises IdentityError, OSError.
        """
        self._site = site if lan_address and not on_loopback(lan_address) else ""
        self._server: grpc.aio.Server | None = None
        self._stock: Stock | None = None
        self._streams = 0
        self.address = ""
        if lan_address:
            self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
            link_pb2_grpc.add_PeerServicer_to_server(self, self._server)
            self.address = _listen(self._server, lan_address, identity)

    async def start(self, stock: Stock) -> None:
        self._stock = stock
        if self._server:
            await self._server.start()

    async def stop(self) -> None:
        if self._server:
            await self._server.stop(None)

    async def Fetch(  # type: ignore[override]  # aio's write
        self, request: pb.FetchRequest, context: Context
    ) -> None:
        if self._streams >= STREAMS_MOST:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{STREAMS_MOST} neighbours are being served")
        self._streams += 1
        try:
            self._admit(context)
            assert self._stock is not None
            async for message in _given(request, self._stock):
                await context.write(message)
        except ArtifactUnknown as err:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(err))
        except ArtifactError as err:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(err))
        except _Ended as err:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(err))
        except NotTrusted as err:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(err))
        finally:
            self._streams -= 1

    def _admit(self, context: Context) -> None:
        """Raises NotTrusted."""
        if self._site:
            identity, _ = caller(context.auth_context())
            if (identity.role, identity.site) != (Role.NODE, self._site):
                raise NotTrusted(f"the certificate is of {identity}, and this address is for nodes of {self._site}")


class Neighbours:
    """Those of the assignment that this node may ask."""

    def __init__(self, node: str, connector: Connector | None = None) -> None:
        """`connector`: as whom it asks; none: neighbours on loopback alone."""
        self._node, self._connector = node, connector or Connector()
        self._peers: tuple[PeerNode, ...] = ()

    def hold(self, peers: tuple[PeerNode, ...]) -> None:
        self._peers = peers

    async def reached(self, until_done: AsyncExitStack) -> list[tuple[Giver, bool]]:
        """Those that answer, and whether to wait for what they are fetching."""
        names = [peer.node for peer in self._peers]
        own = names.index(self._node) if self._node in names else len(names)
        others = [(at, peer) for at, peer in enumerate(self._peers) if peer.node != self._node]
        found = await asyncio.gather(*(self._reach(peer, until_done) for _, peer in others))
        return [(giver, at < own) for (at, _), giver in zip(others, found, strict=True) if giver]

    async def _reach(self, peer: PeerNode, until_done: AsyncExitStack) -> Giver | None:
        options = (("grpc.use_local_subchannel_pool", 1),)
        try:
            channel = await until_done.enter_async_context(self._connector.aio(peer.address, Role.NODE, options))
            async with asyncio.timeout(CONNECT_S):
                await channel.channel_ready()
        except (TimeoutError, IdentityError, OSError) as err:
            facts = {"peer": peer.node, "address": peer.address, "reason": str(err)}
            _log.info("a node of the site is not reached", extra=facts)
            return None
        fetch = link_pb2_grpc.PeerStub(channel).Fetch
        return Giver(f"node {peer.node}", fetch, session="", ranges=True, over_wan=False)


def _listen(server: grpc.aio.Server, lan_address: str, identity: IdentityFolder | None) -> str:
    """On the port after the LAN gateway's, so that a firewall can be told of it; where that is taken on a free one."""
    host, _, port = lan_address.rpartition(":")
    after = int(port) + 1 if 0 < int(port) < 65535 else 0
    try:
        return f"{host}:{_bind(server, f'{host}:{after}', identity)}"
    except RuntimeError:
        return f"{host}:{_bind(server, f'{host}:0', identity)}"


def _bind(server: grpc.aio.Server, address: str, identity: IdentityFolder | None) -> int:
    """In plain text on loopback alone. Raises RuntimeError, IdentityError, OSError."""
    if on_loopback(address):
        return server.add_insecure_port(address)
    if identity is None:
        raise NotEnrolled(f"{address} is not on loopback, where plain text ends, and there is no certificate to show")
    return server.add_secure_port(address, server_credentials(identity))


class _Ended(Exception):
    """The fetch that a neighbour waited for ended without the artifact."""


async def _given(request: pb.FetchRequest, stock: Stock) -> AsyncIterator[pb.FetchChunk]:
    """Raises ArtifactError, _Ended."""
    if file := await asyncio.to_thread(_whole, stock.folder, request.digest):
        with file:
            given = messages(request, file)
            while (message := await asyncio.to_thread(next, given, None)) is not None:
                yield message
        return
    under_way = await stock.under_way(request.digest) if request.wait else None
    if under_way is None:
        raise ArtifactUnknown(request.digest)
    with _File(under_way.assembly.path) as partial:
        async for message in _as_it_comes(request, under_way, partial):
            yield message


async def _as_it_comes(request: pb.FetchRequest, under_way: UnderWay, partial: "_File") -> AsyncIterator[pb.FetchChunk]:
    total = under_way.assembly.manifest.size_bytes
    for offset, end in spans(request, total):
        while offset < end:
            right = min(end, total if under_way.ended else under_way.assembly.right_bytes)
            if right > offset:
                data = await asyncio.to_thread(partial.read, offset, min(MESSAGE_BYTES, right - offset))
                yield pb.FetchChunk(offset=offset, data=data, total_bytes=total)
                offset += len(data)
            elif under_way.ended is None:
                yield pb.FetchChunk(offset=offset, total_bytes=total)  # still at it
                await _moved(under_way)
            else:
                raise _Ended(f"the fetch ended at {offset} of {total} bytes")


async def _moved(under_way: UnderWay) -> None:
    try:
        async with asyncio.timeout(ALIVE_EVERY_S):
            await under_way.until_moved()
    except TimeoutError:
        return


def _whole(folder: ArtifactFolder, digest: str) -> "_File | None":
    """Not checked here: who asked checks each chunk."""
    for path in (folder.path(digest), folder.papers.path_of(digest)):
        if path is not None and path.exists():
            return _File(path)
    return None


class _File:
    """An artifact, or what there is of it: the open file stays what it was when its name changes."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size_bytes = os.fstat(self._handle).st_size

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def read(self, offset: int, limit: int) -> bytes:
        return os.pread(self._handle, limit, offset)
