"""`grpc.health.v1.Health`, written out: two one-field messages are not worth a dependency on an edge node."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio

from workers.gateway.payload import Malformed, model_name

# HealthCheckResponse{status = 1}
SERVING = b"\x08\x01"
NOT_SERVING = b"\x08\x02"
SERVICE_UNKNOWN = b"\x08\x03"
LOOK_EVERY_S = 0.25
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


class HealthHandlers(grpc.GenericRpcHandler):
    """Answers for "" (the whole server) and for `service`."""

    def __init__(self, ready: Callable[[], bool], service: str) -> None:
        self._ready = ready
        self._known = frozenset({"", service})
        self._handlers: dict[str, Any] = {
            "/grpc.health.v1.Health/Check": grpc.unary_unary_rpc_method_handler(self._check),
            "/grpc.health.v1.Health/Watch": grpc.unary_stream_rpc_method_handler(self._watch),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method)

    def _status(self, request: bytes) -> bytes:
        try:
            wanted = model_name(request).name  # HealthCheckRequest{service = 1}
        except Malformed:
            return SERVICE_UNKNOWN
        if wanted not in self._known:
            return SERVICE_UNKNOWN
        return SERVING if self._ready() else NOT_SERVING

    async def _check(self, request: bytes, context: Context) -> bytes:
        status = self._status(request)
        if status == SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"service: unknown; known: {sorted(self._known)}")
        return status

    async def _watch(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        """Ends when the caller does, or the server."""
        sent = b""
        while True:
            if (status := self._status(request)) != sent:
                sent = status
                yield status
            await asyncio.sleep(LOOK_EVERY_S)
