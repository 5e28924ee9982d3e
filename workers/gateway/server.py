"""The Open Inference Protocol's server in front of a `Gateway`: bytes in, bytes out."""

import importlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio

from protos.inference.v2 import inference_pb2
from workers.gateway.direct import MESSAGE_LIMIT_BYTES
from workers.gateway.forward import Gateway
from workers.gateway.health_check import HealthHandlers
from workers.gateway.transport import Metadata, TransportError

SERVICE = "inference.GRPCInferenceService"
OPTIONS = (
    ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
    ("grpc.so_reuseport", 0),  # a busy port is an error, not a second server that takes half the calls
    # Clients of the field ping often, with and without calls; answering is cheaper than cutting them off.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
)
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Handler: TypeAlias = Callable[[bytes, Context], Awaitable[bytes]]


class OipHandlers(grpc.GenericRpcHandler):
    """What each OIP method does here: models' methods are forwarded, the server's own are answered."""

    def __init__(self, gateway: Gateway, version: str) -> None:
        self._gateway = gateway
        self._version = version
        self.draining = False
        own: dict[str, Handler] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ServerMetadata": self._metadata,
        }
        models = {name: self._forward(f"/{SERVICE}/{name}") for name in ("ModelInfer", "ModelReady", "ModelMetadata")}
        self._handlers: dict[str, Any] = {
            f"/{SERVICE}/{name}": grpc.unary_unary_rpc_method_handler(handler)
            for name, handler in (own | models).items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method)

    @property
    def ready(self) -> bool:
        return self._gateway.table is not None and not self.draining

    async def _live(self, request: bytes, context: Context) -> bytes:
        return inference_pb2.ServerLiveResponse(live=True).SerializeToString()

    async def _ready(self, request: bytes, context: Context) -> bytes:
        return inference_pb2.ServerReadyResponse(ready=self.ready).SerializeToString()

    async def _metadata(self, request: bytes, context: Context) -> bytes:
        return inference_pb2.ServerMetadataResponse(name="skerry", version=self._version).SerializeToString()

    def _forward(self, method: str) -> Handler:
        gateway = self._gateway

        async def forward(request: bytes, context: Context) -> bytes:
            try:
                answer = await gateway.infer(method, request, _metadata(context), context.time_remaining())
            except TransportError as err:
                if method.endswith("/ModelReady") and err.code is grpc.StatusCode.UNAVAILABLE:
                    return inference_pb2.ModelReadyResponse(ready=False).SerializeToString()  # that is the answer
                await context.abort(err.code, err.message, err.metadata)
            context.set_trailing_metadata(answer.metadata)
            return answer.payload

        return forward


def gateway_server(handlers: OipHandlers) -> grpc.aio.Server:
    """A server for `handlers`, with health and, where it is installed, reflection; the caller binds and starts it."""
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((handlers, HealthHandlers(lambda: handlers.ready, SERVICE)))
    try:
        reflection = importlib.import_module("grpc_reflection.v1alpha.reflection")
    except ModuleNotFoundError:
        return server  # an edge node's set is smaller
    reflection.enable_server_reflection((SERVICE, "grpc.health.v1.Health", reflection.SERVICE_NAME), server)
    return server


def _metadata(context: Context) -> Metadata:
    return tuple((key, value) for key, value in context.invocation_metadata() or ())
