"""`grpc.health.v1.Health`, Check and Watch, over bytes.

Our own, since the servicer of grpcio-health-checking can freeze a server: its Watch waits for a send under a lock that
the thread which completes sends takes when another watcher leaves (seen with 1.85.1 in this room's tests). It also
keeps the package off the edge. Here nothing is sent under a lock that the serving thread ever takes.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import grpc
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

HEALTH_SERVICE = "grpc.health.v1.Health"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
PATIENCE_S = 0.5  # with watchers: one that does not read must not hold up a start or a stop

Send = Callable[[bytes | None], None]  # None ends the stream
Respond = Callable[..., Any]


class Health(grpc.GenericRpcHandler):
    """NOT_SERVING until `serve`, and again from `leave` on. Knows the server as a whole ("") and `services`."""

    def __init__(self, *services: str) -> None:
        self._services = frozenset(("", *services))
        self._status = NOT_SERVING
        self._watchers: set[_Watcher] = set()
        self._changes = threading.Lock()
        # A watcher that does not read holds the thread that writes to it: not one of the inference threads.
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            f"/{HEALTH_SERVICE}/Check": grpc.unary_unary_rpc_method_handler(self._check),
            f"/{HEALTH_SERVICE}/Watch": grpc.unary_stream_rpc_method_handler(
                _from_threads(self._threads, lambda *call: self._watch(*call))
            ),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return self._handlers.get(handler_call_details.method)

    def serve(self) -> None:
        self._set(SERVING)

    def leave(self) -> None:
        """Watchers hear it, and their streams end, so that none of them holds up a server that stops."""
        self._set(NOT_SERVING)
        self._for_each_watcher(_Watcher.end)
        self._threads.shutdown(wait=False)

    def status(self, service: str) -> int:
        return self._status if service in self._services else SERVICE_UNKNOWN

    def _set(self, status: int) -> None:
        self._status = status
        self._for_each_watcher(_Watcher.tell)

    def _for_each_watcher(self, do: Callable[["_Watcher"], None]) -> None:
        with self._changes:
            watchers = list(self._watchers)

        def reach_all() -> None:
            for watcher in watchers:
                do(watcher)

        news = threading.Thread(target=reach_all, name="health-news", daemon=True)
        news.start()
        news.join(PATIENCE_S)

    def _check(self, payload: bytes, context: grpc.ServicerContext) -> bytes:
        status = self.status(_asked_service(payload, context))
        if status == SERVICE_UNKNOWN:
            context.abort(grpc.StatusCode.NOT_FOUND, f"known services: {', '.join(sorted(self._services - {''}))}")
        return _response(status)

    def _watch(self, payload: bytes, context: grpc.ServicerContext, send: Send) -> None:
        """The stream stays open when this returns; `send` belongs to it."""
        service = _asked_service(payload, context)
        watcher = _Watcher(lambda: self.status(service), send)

        def gone() -> None:
            with self._changes:
                self._watchers.discard(watcher)

        with self._changes:
            self._watchers.add(watcher)
        if not context.add_callback(gone):
            gone()
        watcher.tell()


class _Watcher:
    """Sends the status as it is then, and only news: so an early SERVING never comes after a late NOT_SERVING."""

    def __init__(self, status: Callable[[], int], send: Send) -> None:
        self._status, self._send = status, send
        self._told: int | None = None
        self._sending = threading.Lock()

    def tell(self) -> None:
        with self._sending:
            if (status := self._status()) != self._told:
                self._told = status
                self._send(_response(status))

    def end(self) -> None:
        with self._sending:
            self._send(None)


def _from_threads(threads: ThreadPoolExecutor, watch: Callable[[bytes, grpc.ServicerContext, Send], None]) -> Respond:
    """Marked so that grpc runs it on `threads` and lets it return while its stream is open, as its own Watch does."""
    marked = cast(Any, watch)
    marked.experimental_non_blocking = True
    marked.experimental_thread_pool = threads
    return cast(Respond, marked)


def _request_class() -> Any:
    """In a pool of its own: beside the package, a second definition in the default pool would be an error."""
    file = FileDescriptorProto(name="health_request.proto", package="grpc.health.v1", syntax="proto3")
    text, one = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.LABEL_OPTIONAL
    file.message_type.add(name="HealthCheckRequest").field.add(name="service", number=1, type=text, label=one)
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("grpc.health.v1.HealthCheckRequest"))


_REQUEST = _request_class()


def _asked_service(payload: bytes, context: grpc.ServicerContext) -> str:
    try:
        return str(_REQUEST.FromString(payload).service)
    except DecodeError:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{len(payload)} bytes are not a HealthCheckRequest")


def _response(status: int) -> bytes:
    """HealthCheckResponse: field 1, an enum below 128."""
    return bytes((0x08, status))
