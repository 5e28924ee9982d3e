"""The data plane on a gRPC port: a pool of threads and handlers of bytes (docs/decisions/0003-inference-server.md)."""

import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, cast

import grpc

from workers.inference.dataplane import MAX_MESSAGE_BYTES, METHODS, SERVICE, Reply
from workers.inference.errors import AddressInUse, AddressUnusable, InferenceError
from workers.inference.health import HEALTH_SERVICE, Health
from workers.inference.reflection import add_reflection

logger = logging.getLogger(__name__)

Metadata = Iterable[tuple[str, str | bytes]]

# Beyond these gRPC answers RESOURCE_EXHAUSTED: waiting longer than this helps no caller.
WAITING_CALLS_PER_THREAD = 64
TURNING_AWAY_S = 0.1  # a caller in a closed loop comes by several times in it
MAX_DETAILS = 1_000  # characters; gRPC's metadata, which carries them, ends at 8 KiB

OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Otherwise a second server on the port takes a part of the calls in silence.
    ("grpc.so_reuseport", 0),
    # Clients behind NAT ping to keep their connection; none of them is to be sent away for it.
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
)


class Answers(Protocol):
    """What the server needs of a data plane."""

    def handle(self, method: str, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        """Raises InferenceError."""
        ...


class InferenceServer:
    """`start` once, `stop` once. `reflection`: only where its package is installed."""

    def __init__(
        self,
        dataplane: Answers,
        address: str = "127.0.0.1:0",
        threads: int = 8,
        reflection: bool = True,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        """Without `credentials`: plain text."""
        self._host, _, self._port = address.rpartition(":")
        self._credentials = credentials
        self._door = _Door()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="inference")
        self._health = Health(SERVICE)
        self._server = grpc.server(
            self._threads,
            handlers=[_Handlers(dataplane, self._door), self._health],
            options=OPTIONS,
            maximum_concurrent_rpcs=threads * WAITING_CALLS_PER_THREAD,
        )
        if reflection:
            add_reflection(self._server, (SERVICE, HEALTH_SERVICE))

    @property
    def address(self) -> str:
        return f"{self._host}:{self._port}"

    def start(self) -> int:
        """The bound port. Raises AddressUnusable, AddressInUse."""
        if not self._port.isdecimal() or int(self._port) > 65535:
            # gRPC takes a port modulo 65536.
            raise AddressUnusable(self.address, f"{self._port!r} is no port", "give host:port, the port 0 to 65535")
        try:
            port = self._bound()
        except RuntimeError as err:
            raise _unusable(self._host, self._port) from err
        self._port = str(port)
        self._server.start()
        self._health.serve()
        return port

    def _bound(self) -> int:
        """Raises RuntimeError."""
        if self._credentials is None:
            return self._server.add_insecure_port(self.address)
        return self._server.add_secure_port(self.address, self._credentials)

    def stop(self, grace_s: float = 2.0) -> None:
        """Health off first, then no new calls, then those under way get `grace_s` to finish."""
        self._health.leave()
        self._door.close(grace_s)
        self._server.stop(grace_s).wait(grace_s + 1.0)
        self._threads.shutdown(wait=False)


class _Door:
    """Turns new calls away with UNAVAILABLE before gRPC shuts down, which cancels what arrives meanwhile.

    A caller takes CANCELLED for its own doing; UNAVAILABLE sends it to another replica.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._closed = False
        self._lock = threading.Lock()  # every call takes it twice; a Condition's own would cost more
        self._changed = threading.Condition(self._lock)

    def enter(self) -> bool:
        with self._lock:
            if not self._closed:
                self._inside += 1
            return not self._closed

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._closed:
                self._changed.notify_all()

    def close(self, grace_s: float) -> None:
        """Returns when nobody is inside, and callers had time to be turned away; after `grace_s` at the latest."""
        with self._changed:
            self._closed = True
            turned_away_s = min(TURNING_AWAY_S, grace_s)
            self._changed.wait_for(lambda: self._inside == 0, grace_s - turned_away_s)
            self._changed.wait_for(lambda: False, turned_away_s)


class _Handlers(grpc.GenericRpcHandler):
    """By full method name; others are gRPC's UNIMPLEMENTED. No serialisers: the data plane speaks bytes."""

    def __init__(self, dataplane: Answers, door: _Door) -> None:
        self._handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            method: grpc.unary_unary_rpc_method_handler(_behaviour(dataplane, method, door)) for method in METHODS
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return self._handlers.get(handler_call_details.method)


def _behaviour(dataplane: Answers, method: str, door: _Door) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    def answer(payload: bytes, context: grpc.ServicerContext) -> bytes:
        if not door.enter():
            context.abort(grpc.StatusCode.UNAVAILABLE, "this server is stopping; ask another replica")
        try:
            reply = dataplane.handle(method, payload, _as_text(context.invocation_metadata()))
        except InferenceError as err:
            context.abort(err.code, str(err)[:MAX_DETAILS])
        # The edge of the process: gRPC would send the exception's text to the caller.
        except Exception:
            logger.exception("Call ended in a bug of this server", extra={"method": method})
            context.abort(grpc.StatusCode.INTERNAL, "internal error of the server; its log has the details")
        finally:
            door.leave()
        if reply.metadata:
            context.set_trailing_metadata(tuple(reply.metadata.items()))
        return reply.payload

    return answer


def _as_text(metadata: Metadata) -> dict[str, str]:
    """Only keys that end in "-bin" have bytes for a value, and none of ours does."""
    return cast(dict[str, str], dict(metadata))


def _unusable(host: str, port: str) -> AddressUnusable:
    """Ask the operating system for the reason, which gRPC keeps to itself."""
    address = f"{host}:{port}"
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
            probe.listen()
    except (OSError, ValueError, OverflowError) as err:
        if isinstance(err, OSError) and err.errno == errno.EADDRINUSE:
            return AddressInUse(address, "another process listens there", "stop it, or choose another port")
        return AddressUnusable(address, str(err), "give host:port, the host one of this machine's own addresses")
    return AddressInUse(address, "another process listened there a moment ago", "try again")
