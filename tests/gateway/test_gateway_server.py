"""The OIP server in front of a gateway, as its clients see it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from fake_transport import FakeTransport, Sent, hang
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from protos.inference.v2 import inference_pb2, inference_pb2_grpc
from workers.gateway.choice import Route, RouteTable, ServiceKey, ServiceRoutes
from workers.gateway.forward import Gateway
from workers.gateway.server import SERVICE, OipHandlers, gateway_server
from workers.gateway.transport import Answer

pytestmark = pytest.mark.real
ROUTE = Route("a", "a-1", "site-a", "v1", 1.0, 1.0, "127.0.0.1:1")
TABLE = RouteTable(1, {ServiceKey("plant-7", "digits"): ServiceRoutes("v1", "decision-1", {"": (ROUTE,)})})
PLANT = (("skerry-namespace", "plant-7"),)


async def replica(sent: Sent) -> Answer:
    """Answers each method as a replica would."""
    method = sent.method.rpartition("/")[2]
    if method == "ModelReady":
        return Answer(inference_pb2.ModelReadyResponse(ready=True).SerializeToString(), ())
    if method == "ModelMetadata":
        return Answer(inference_pb2.ModelMetadataResponse(name="digits").SerializeToString(), ())
    request = inference_pb2.ModelInferRequest.FromString(sent.payload)
    response = inference_pb2.ModelInferResponse(id=request.id, raw_output_contents=request.raw_input_contents)
    return Answer(response.SerializeToString(), (("skerry-variant", "int8"),))


class Serving:
    def __init__(self, transport: FakeTransport) -> None:
        self.transport = transport
        self.gateway = Gateway(transport, "here")
        self.handlers = OipHandlers(self.gateway, "1.2.3")
        self.server = gateway_server(self.handlers)
        self.channel: grpc.aio.Channel

    @property
    def stub(self) -> inference_pb2_grpc.GRPCInferenceServiceStub:
        return inference_pb2_grpc.GRPCInferenceServiceStub(self.channel)


@asynccontextmanager
async def serving(transport: FakeTransport | None = None, table: RouteTable | None = TABLE) -> AsyncIterator[Serving]:
    made = Serving(transport or FakeTransport({"a": replica}))
    if table is not None:
        made.gateway.use(table)
    port = made.server.add_insecure_port("127.0.0.1:0")
    await made.server.start()
    limit = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=limit) as made.channel:
            yield made
    finally:  # a server that is left running keeps gRPC from ending, and the whole test run with it
        await made.server.stop(0)


async def test_models_are_forwarded_whole_with_trailing_metadata() -> None:
    async with serving() as front:
        request = inference_pb2.ModelInferRequest(model_name="digits", id="7", raw_input_contents=[bytes(20 << 20)])
        call = front.stub.ModelInfer(request, metadata=PLANT, timeout=20)
        response = await call
        assert response.id == "7"
        assert response.raw_output_contents == request.raw_input_contents
        trailing = dict(await call.trailing_metadata() or ())
        assert trailing["skerry-variant"] == "int8"
        assert trailing["skerry-site"] == "site-a"
        assert trailing["skerry-attempts"] == "1"
        assert (await front.stub.ModelReady(inference_pb2.ModelReadyRequest(name="digits"), metadata=PLANT)).ready
        metadata = inference_pb2.ModelMetadataRequest(name="digits", version="v1")
        assert (await front.stub.ModelMetadata(metadata, metadata=PLANT)).name == "digits"


async def test_readiness_follows_the_table_and_the_drain() -> None:
    async with serving(table=None) as front:
        health = health_pb2_grpc.HealthStub(front.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        seen = [(await watch.read()).status]
        assert (await front.stub.ServerLive(inference_pb2.ServerLiveRequest())).live
        assert not (await front.stub.ServerReady(inference_pb2.ServerReadyRequest())).ready
        front.gateway.use(TABLE)
        assert (await front.stub.ServerReady(inference_pb2.ServerReadyRequest())).ready
        seen.append((await watch.read()).status)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        front.handlers.draining = True
        seen.append((await watch.read()).status)
        watch.cancel()
        states = health_pb2.HealthCheckResponse
        assert seen == [states.NOT_SERVING, states.SERVING, states.NOT_SERVING]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="other"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_server_says_what_it_is_and_what_it_has() -> None:
    async with serving() as front:
        metadata = await front.stub.ServerMetadata(inference_pb2.ServerMetadataRequest())
        assert (metadata.name, metadata.version, list(metadata.extensions)) == ("skerry", "1.2.3", [])
        listing = reflection_pb2_grpc.ServerReflectionStub(front.channel).ServerReflectionInfo()
        await listing.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        reply = await listing.read()
        listing.cancel()
        assert SERVICE in {each.name for each in reply.list_services_response.service}
        stream = front.channel.unary_unary(f"/{SERVICE}/RepositoryIndex")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_callers_deadline_travels_and_none_is_thirty_seconds() -> None:
    async with serving() as front:
        request = inference_pb2.ModelInferRequest(model_name="digits")
        await front.stub.ModelInfer(request, metadata=PLANT, timeout=7.0)
        await front.stub.ModelInfer(request, metadata=PLANT)
        short, default = (sent.timeout_s for sent in front.transport.sent)
        assert 6.0 < short < 7.1  # gRPC rounds a timeout up to three digits on its way
        assert 29.0 < default <= 30.0


async def test_a_caller_who_leaves_ends_the_call_at_the_replica() -> None:
    async with serving(FakeTransport({"a": hang})) as front:
        call = front.stub.ModelInfer(inference_pb2.ModelInferRequest(model_name="digits"), metadata=PLANT)
        for _ in range(500):
            if front.transport.sent:
                break
            await asyncio.sleep(0.01)
        call.cancel()
        for _ in range(500):
            if front.transport.cancelled:
                break
            await asyncio.sleep(0.01)
        assert front.transport.cancelled == ["a"]


async def test_a_model_without_a_replica_is_not_ready_and_questions_are_no_demand() -> None:
    empty = RouteTable(1, {ServiceKey("plant-7", "digits"): ServiceRoutes("v1", "d", {}, "no site fits")})
    async with serving(table=empty) as front:
        request = inference_pb2.ModelReadyRequest(name="digits")
        assert not (await front.stub.ModelReady(request, metadata=PLANT)).ready
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await front.stub.ModelReady(inference_pb2.ModelReadyRequest(name="digit"), metadata=PLANT)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert front.gateway.demand.drain(0.0) == []


async def test_refusals_carry_code_and_words() -> None:
    async with serving() as front:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await front.stub.ModelInfer(inference_pb2.ModelInferRequest(model_name="digits"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert "it exists in namespace plant-7" in (caught.value.details() or "")
