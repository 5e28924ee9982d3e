"""Calls to replicas that the gateway can dial itself."""

import asyncio
from collections.abc import Iterable
from typing import TypeAlias

import grpc
import grpc.aio

from workers.gateway.choice import Route
from workers.gateway.transport import Answer, Metadata, TransportError
from workers.identity.connecting import Connector
from workers.identity.errors import IdentityError
from workers.identity.names import Role

MESSAGE_LIMIT_BYTES = 64 * 1024 * 1024
CLOSE_GRACE_S = 30.0
_OPTIONS = (
    ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
    # gRPC's default backoff grows to two minutes: a replica that came back would be shunned for as long.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.use_local_subchannel_pool", 1),  # a reused port must not inherit another channel's broken connection
)
Call: TypeAlias = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


class DirectTransport:
    """One channel per address, opened by the first call and closed when the route table has dropped the address."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._calls: dict[tuple[str, str], Call] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def call(self, route: Route, method: str, payload: bytes, metadata: Metadata, timeout_s: float) -> Answer:
        sent = (*metadata, ("skerry-incarnation", route.incarnation), ("skerry-replica", route.replica))
        try:
            dialled = self._call(route.address, method)
        except (IdentityError, OSError) as err:
            raise TransportError(grpc.StatusCode.UNAVAILABLE, f"replica {route.replica}: {err}") from err
        call = dialled(payload, timeout=timeout_s, metadata=sent)
        try:
            return Answer(await call, _pairs(await call.trailing_metadata()))
        except grpc.aio.AioRpcError as err:
            raise _translated(err) from err

    def _call(self, address: str, method: str) -> Call:
        found = self._calls.get((address, method))
        if found is None:
            channel = self._channels.get(address)
            if channel is None:
                channel = self._channels[address] = self._connector.aio(address, Role.REPLICA, _OPTIONS)
            found = self._calls[(address, method)] = channel.unary_unary(method)
        return found

    def retain(self, addresses: Iterable[str]) -> None:
        """Close the channels of all other addresses, once their calls have ended."""
        for address in self._channels.keys() - set(addresses):
            self._calls = {key: call for key, call in self._calls.items() if key[0] != address}
            closing = asyncio.ensure_future(self._channels.pop(address).close(CLOSE_GRACE_S))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        for closing in tuple(self._closing):
            closing.cancel()
        channels, self._channels, self._calls = self._channels, {}, {}
        await asyncio.gather(
            *self._closing, *(channel.close() for channel in channels.values()), return_exceptions=True
        )


def _pairs(metadata: Iterable[tuple[str, str | bytes]] | None) -> Metadata:
    return tuple((key, value) for key, value in metadata or ())


def _translated(err: grpc.aio.AioRpcError) -> TransportError:
    code, message = err.code(), err.details() or ""
    # We did not cancel, so the replica's server did: it is stopping, or its process died in the middle of the call.
    broken = code is grpc.StatusCode.CANCELLED or "RST_STREAM" in message or "Connection reset" in message
    return TransportError(grpc.StatusCode.UNAVAILABLE if broken else code, message, _pairs(err.trailing_metadata()))
