"""Whoever gives a node an artifact's bytes: the front over the WAN, a node of its site over the LAN."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import grpc

from protos.link.v1 import link_pb2 as pb
from workers.artifacts.digest import digest_of_bytes
from workers.artifacts.errors import ArtifactCorrupt

STALL_S = 20.0  # without a message: give up, and come back to where it was
PROGRESS_EVERY_S = 0.25

Fetch = Callable[[pb.FetchRequest], "grpc.aio.UnaryStreamCall[pb.FetchRequest, pb.FetchChunk]"]


class FetchBroken(Exception):
    """The artifact did not come; what came is kept. The message says why and what happens now."""


@dataclass(frozen=True, slots=True)
class Giver:
    name: str
    fetch: Fetch
    session: str
    ranges: bool  # gives ranges and papers; an older front does not
    over_wan: bool

    async def messages(self, request: pb.FetchRequest, what: Callable[[], str]) -> AsyncGenerator[pb.FetchChunk, None]:
        """As they come, within `STALL_S` of each other. Raises FetchBroken. `what`: how far it was, for the reason."""
        stream = self.fetch(request)
        try:
            while isinstance(message := await _next(stream), pb.FetchChunk):
                yield message
        except TimeoutError as err:
            raise FetchBroken(f"no byte came from {self.name} for {STALL_S:.0f} s {what()}; it goes on there") from err
        except grpc.aio.AioRpcError as err:
            raise GiverRefused(self.name, err, what()) from err
        finally:
            stream.cancel()

    async def paper(self, digest: str, most_bytes: int) -> bytes:
        """A manifest or a signature. Raises FetchBroken, and ArtifactCorrupt for one that is not what it is called."""
        data = bytearray()
        request = pb.FetchRequest(digest=digest, session=self.session)
        async with aclosing(self.messages(request, lambda: f"of {digest}")) as messages:
            async for message in messages:
                data += message.data
                if max(len(data), message.total_bytes) > most_bytes:
                    raise ArtifactCorrupt(digest, f"{self.name} gives more than {most_bytes} bytes")
        if digest_of_bytes(bytes(data)) != digest:
            raise ArtifactCorrupt(digest, f"{self.name} gives other bytes")
        return bytes(data)


class GiverRefused(FetchBroken):
    """It said so; `code` says what."""

    def __init__(self, name: str, err: grpc.aio.AioRpcError, what: str) -> None:
        self.code = err.code()
        said = err.details() or self.code.name
        super().__init__(f"{name} said {self.code.name} {what}: {said}; it is tried again")


class Progress:
    """Tells how far a fetch is, but not with every message."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell, self._told_s = tell, 0.0

    def at(self, fetched_bytes: int) -> None:
        if time.monotonic() - self._told_s > PROGRESS_EVERY_S:
            self._told_s = time.monotonic()
            self._tell(fetched_bytes)


async def _next(stream: "grpc.aio.UnaryStreamCall[pb.FetchRequest, pb.FetchChunk]") -> object:
    async with asyncio.timeout(STALL_S):
        return await stream.read()
