"""Calls to nodes over the connections that the nodes opened: the cloud side never dials an edge."""

import asyncio
import math
from collections.abc import Callable

import grpc

from protos.link.v1 import link_pb2
from workers.gateway.choice import Route
from workers.gateway.transport import Answer, Metadata, TransportError

CALLS_IN_FLIGHT = 256  # of one node; as many calls as a retry burst covers
BYTES_IN_FLIGHT = 256 * 1024 * 1024
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class RelayStream:
    """One node's Serve stream: calls go into `outgoing`, answers come back through `answered`."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.outgoing: asyncio.Queue[link_pb2.RelayCall] = asyncio.Queue(maxsize=2 * CALLS_IN_FLIGHT)
        self.ended = asyncio.Event()
        self.why = ""
        self._pending: dict[int, asyncio.Future[link_pb2.RelayResult]] = {}
        self._bytes = 0
        self._last = 0

    async def call(self, request: link_pb2.RelayRequest, timeout_s: float) -> link_pb2.RelayResult:
        """Raises TransportError."""
        size = len(request.payload)
        self._admit(size)
        self._last += 1
        call = self._last
        result: asyncio.Future[link_pb2.RelayResult] = asyncio.get_running_loop().create_future()
        self._pending[call] = result
        self._bytes += size
        try:
            self.outgoing.put_nowait(link_pb2.RelayCall(call=call, request=request))
            async with asyncio.timeout(timeout_s):
                return await result
        except TimeoutError as err:
            self._cancel(call)
            message = f"node {self.node} did not answer within {timeout_s:.3f} s"
            raise TransportError(grpc.StatusCode.DEADLINE_EXCEEDED, message) from err
        except asyncio.CancelledError:
            self._cancel(call)
            raise
        finally:
            del self._pending[call]
            self._bytes -= size

    def answered(self, answer: link_pb2.RelayAnswer) -> None:
        """Late answers to cancelled calls are dropped."""
        result = self._pending.get(answer.call)
        if result is not None and not result.done() and answer.HasField("result"):
            result.set_result(answer.result)

    def end(self, why: str) -> None:
        """Fail all pending calls at once, so that their gateway retries elsewhere."""
        if self.ended.is_set():
            return
        self.why = why
        self.ended.set()
        for result in self._pending.values():
            if not result.done():
                result.set_exception(TransportError(grpc.StatusCode.UNAVAILABLE, why))

    def _admit(self, size: int) -> None:
        if self.ended.is_set():
            raise TransportError(grpc.StatusCode.UNAVAILABLE, self.why)
        if len(self._pending) >= CALLS_IN_FLIGHT or self._bytes + size > BYTES_IN_FLIGHT or self.outgoing.full():
            held = f"{len(self._pending)} calls of {CALLS_IN_FLIGHT}, {self._bytes} bytes of {BYTES_IN_FLIGHT}"
            raise TransportError(grpc.StatusCode.RESOURCE_EXHAUSTED, f"relay to node {self.node} is full: {held}")

    def _cancel(self, call: int) -> None:
        if not self.ended.is_set() and not self.outgoing.full():  # full: the node's own timeout ends it
            self.outgoing.put_nowait(link_pb2.RelayCall(call=call, cancel=True))


class RelayTransport:
    """A gateway's transport to attached nodes; a node's newest stream counts."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._streams: dict[str, RelayStream] = {}
        self._nodes: frozenset[str] = frozenset()

    def nodes(self) -> frozenset[str]:
        """Those with an open stream."""
        return self._nodes

    def open(self, node: str) -> RelayStream:
        if (held := self._streams.get(node)) is not None:
            self.close(held, f"node {node} opened another relay connection")
        stream = self._streams[node] = RelayStream(node)
        self._nodes = frozenset(self._streams)
        return stream

    def close(self, stream: RelayStream, why: str) -> None:
        stream.end(why)
        if self._streams.get(stream.node) is stream:
            del self._streams[stream.node]
            self._nodes = frozenset(self._streams)

    def cut(self, node: str, why: str) -> None:
        """Close the node's stream, if it has one."""
        if (stream := self._streams.get(node)) is not None:
            self.close(stream, why)

    async def call(self, route: Route, method: str, payload: bytes, metadata: Metadata, timeout_s: float) -> Answer:
        stream = self._streams.get(route.node)
        if stream is None:
            raise TransportError(
                grpc.StatusCode.UNAVAILABLE, f"node {route.node} has no relay connection to this front"
            )
        request = link_pb2.RelayRequest(
            method=method,
            payload=payload,
            replica=route.replica,
            incarnation=route.incarnation,
            timeout_ms=min(max(1, math.ceil(timeout_s * 1000)), 2**32 - 1),
            metadata={key: value for key, value in metadata if isinstance(value, str)},
        )
        return _answer(await stream.call(request, timeout_s))


def _answer(result: link_pb2.RelayResult) -> Answer:
    metadata: Metadata = tuple(sorted(result.metadata.items()))
    code = _CODES.get(result.code, grpc.StatusCode.UNKNOWN)
    if code is grpc.StatusCode.OK:
        return Answer(result.payload, metadata)
    # CANCELLED by the node, not by us: its replica went away under the call.
    broken = code is grpc.StatusCode.CANCELLED
    raise TransportError(grpc.StatusCode.UNAVAILABLE if broken else code, result.message, metadata)
