"""One contract for every way to a replica: the fake one that tests use, a dialled address, and a node's relay."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from front_rig import INFER, Node, until

from orchestrator.front.door import Door
from orchestrator.front.link import NodeLinkServicer, RelayServicer
from orchestrator.front.nodes import Nodes
from orchestrator.front.relay import CALLS_IN_FLIGHT, RelayTransport
from protos.link.v1 import link_pb2, link_pb2_grpc
from workers.gateway.choice import Route
from workers.gateway.direct import DirectTransport
from workers.gateway.transport import Answer, Transport, TransportError
from workers.identity.connecting import Connector

sys.path.insert(0, str(Path(__file__).parents[1] / "gateway"))
from fake_transport import FakeTransport, Sent

pytestmark = pytest.mark.real
KINDS = ("fake", "direct", "relay")


class Replica:
    """Does what the payload says, whatever way it came."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.waiting = 0

    async def handle(self, payload: bytes) -> Answer:
        kind, _, rest = payload.partition(b":")
        if kind == b"fail":
            raise TransportError(grpc.StatusCode[rest.decode()], "on purpose", (("trace", "t"),))
        if kind == b"hang":
            try:
                self.waiting += 1
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return Answer(rest, (("trace", "t"),))


@asynccontextmanager
async def fake(replica: Replica) -> AsyncIterator[tuple[Transport, Route]]:
    async def behaviour(sent: Sent) -> Answer:
        return await replica.handle(sent.payload)

    yield FakeTransport({"r": behaviour}), Route("r", "r-1", "s", "v1", 1.0, 1.0, "127.0.0.1:1")


@asynccontextmanager
async def direct(replica: Replica) -> AsyncIterator[tuple[Transport, Route]]:
    class Handlers(grpc.GenericRpcHandler):
        def service(self, handler_call_details):  # type: ignore[no-untyped-def]
            return grpc.unary_unary_rpc_method_handler(answer)

    async def answer(payload: bytes, context) -> bytes:  # type: ignore[no-untyped-def]
        assert dict(context.invocation_metadata())["skerry-incarnation"] == "r-1"
        try:
            said = await replica.handle(payload)
        except TransportError as err:
            await context.abort(err.code, err.message, err.metadata)
        context.set_trailing_metadata(said.metadata)
        return said.payload

    server = grpc.aio.server(options=(("grpc.max_receive_message_length", 64 << 20),))
    server.add_generic_rpc_handlers((Handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    transport = DirectTransport(Connector())
    try:
        yield transport, Route("r", "r-1", "s", "v1", 1.0, 1.0, f"127.0.0.1:{port}")
    finally:
        await transport.close()
        await server.stop(0)


@asynccontextmanager
async def relay(replica: Replica) -> AsyncIterator[tuple[RelayTransport, Route]]:
    async def handle(call: link_pb2.RelayRequest) -> Answer:
        assert (call.method, call.replica, call.incarnation) == (INFER, "r", "r-1")
        assert call.timeout_ms > 0
        return await replica.handle(call.payload)

    transport, nodes = RelayTransport(), Nodes(lambda: None)
    server = grpc.aio.server()
    link_pb2_grpc.add_NodeLinkServicer_to_server(
        NodeLinkServicer(nodes, "f", link_pb2.Software(), Door(plain=True)), server
    )
    link_pb2_grpc.add_RelayServicer_to_server(RelayServicer(transport, nodes, Door(plain=True)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    node = await Node("n", handle=handle).attach(f"127.0.0.1:{port}")
    await node.relay(f"127.0.0.1:{port}")
    await until(lambda: transport.nodes() == {"n"}, "the relay is open")
    try:
        yield transport, Route("r", "r-1", "s", "v1", 1.0, 1.0, node="n")
    finally:
        await node.leave()
        await server.stop(0)


WAYS = {"fake": fake, "direct": direct, "relay": relay}


async def refusal(transport: Transport, route: Route, payload: bytes, timeout_s: float = 10.0) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await transport.call(route, INFER, payload, (), timeout_s)
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
async def test_answers_and_refusals_pass_whole(kind: str) -> None:
    async with WAYS[kind](Replica()) as (transport, route):
        large = b"echo:" + bytes(range(256)) * 4096
        answer = await transport.call(route, INFER, large, (("x-request-id", "7"),), 10.0)
        assert answer.payload == large[5:]
        assert ("trace", "t") in answer.metadata
        for code in ("INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL"):
            err = await refusal(transport, route, f"fail:{code}".encode())
            assert (err.code.name, err.message) == (code, "on purpose")
            assert ("trace", "t") in err.metadata


@pytest.mark.parametrize("kind", KINDS)
async def test_time_is_up(kind: str) -> None:
    replica = Replica()
    async with WAYS[kind](replica) as (transport, route):
        assert (await refusal(transport, route, b"hang:", 0.2)).code is grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(replica.cancelled.wait(), 5)


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelling_reaches_the_replica_and_hurts_no_other_call(kind: str) -> None:
    replica = Replica()
    async with WAYS[kind](replica) as (transport, route):
        call = asyncio.ensure_future(transport.call(route, INFER, b"hang:", (), 10.0))
        other = asyncio.ensure_future(transport.call(route, INFER, b"echo:other", (), 10.0))
        await until(lambda: replica.waiting == 1, "the call has arrived")
        call.cancel()
        await asyncio.wait_for(replica.cancelled.wait(), 5)
        assert (await other).payload == b"other"
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await transport.call(route, INFER, b"echo:again", (), 10.0)).payload == b"again"


@pytest.mark.parametrize("kind", ["direct", "relay"])
async def test_concurrent_calls_keep_their_answers(kind: str) -> None:
    async with WAYS[kind](Replica()) as (transport, route):
        payloads = [b"echo:%d" % number for number in range(200)]
        answers = await asyncio.gather(*(transport.call(route, INFER, each, (), 10.0) for each in payloads))
        assert [answer.payload for answer in answers] == [each[5:] for each in payloads]


async def test_nobody_listens_at_the_address() -> None:
    transport = DirectTransport(Connector())
    err = await refusal(transport, Route("r", "r-1", "s", "v1", 1.0, 1.0, "127.0.0.1:1"), b"echo:")
    assert err.code is grpc.StatusCode.UNAVAILABLE
    await transport.close()


async def test_a_dropped_address_lets_its_calls_end() -> None:
    replica = Replica()
    async with direct(replica) as (transport, route):
        assert isinstance(transport, DirectTransport)
        call = asyncio.ensure_future(transport.call(route, INFER, b"hang:", (), 0.5))
        await until(lambda: replica.waiting == 1, "the call has arrived")
        transport.retain([])
        err = await asyncio.gather(call, return_exceptions=True)
        assert isinstance(err[0], TransportError)
        assert err[0].code is grpc.StatusCode.DEADLINE_EXCEEDED, "its own end, not the channel's"
        assert (await transport.call(route, INFER, b"echo:again", (), 10.0)).payload == b"again"


async def test_a_relay_that_breaks_fails_its_calls_at_once() -> None:
    replica = Replica()
    async with relay(replica) as (transport, route):
        calls = [asyncio.ensure_future(transport.call(route, INFER, b"hang:", (), 30.0)) for _ in range(5)]
        await until(lambda: replica.waiting == 5, "the calls have arrived")
        transport.cut("n", "cut on purpose")
        broken = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 1)
        assert {err.code for err in broken if isinstance(err, TransportError)} == {grpc.StatusCode.UNAVAILABLE}
        assert len(broken) == 5
        err = await refusal(transport, route, b"echo:")
        assert err.code is grpc.StatusCode.UNAVAILABLE
        assert transport.nodes() == frozenset()


async def test_a_relay_takes_so_many_calls_and_no_more() -> None:
    replica = Replica()
    async with relay(replica) as (transport, route):
        calls = [
            asyncio.ensure_future(transport.call(route, INFER, b"hang:", (), 30.0)) for _ in range(CALLS_IN_FLIGHT)
        ]
        await until(lambda: replica.waiting == CALLS_IN_FLIGHT, "the calls have arrived")
        err = await refusal(transport, route, b"echo:")
        assert err.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(CALLS_IN_FLIGHT) in err.message
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert (await transport.call(route, INFER, b"echo:free", (), 10.0)).payload == b"free"


async def test_a_relay_needs_an_attached_session() -> None:
    async with relay(Replica()) as (transport, _):
        stranger = Node("stranger", welcome=link_pb2.FrontWelcome(session="forged"))
        stream = next(iter(transport._streams.values()))
        assert stream.node == "n"
        nodes = Nodes(lambda: None)
        server = grpc.aio.server()
        link_pb2_grpc.add_RelayServicer_to_server(RelayServicer(transport, nodes, Door(plain=True)), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        await stranger.relay(f"127.0.0.1:{port}")
        assert await stranger.serve.code() is grpc.StatusCode.UNAVAILABLE
        assert "attach first" in (await stranger.serve.details())
        assert transport.nodes() == {"n"}
        await stranger.leave()
        await server.stop(0)
