"""A transport of scripted replicas. Passes the contract in tests/front/test_front_transports.py."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc

from workers.gateway.choice import Route
from workers.gateway.transport import Answer, Metadata, TransportError


@dataclass(frozen=True)
class Sent:
    """One call as a replica got it."""

    replica: str
    method: str
    payload: bytes
    metadata: Metadata
    timeout_s: float


Behaviour = Callable[[Sent], Awaitable[Answer]]


@dataclass
class FakeTransport:
    """Replicas answer by `behaviours`; the absent echo."""

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    async def call(self, route: Route, method: str, payload: bytes, metadata: Metadata, timeout_s: float) -> Answer:
        sent = Sent(route.replica, method, payload, metadata, timeout_s)
        self.sent.append(sent)
        try:
            async with asyncio.timeout(timeout_s):
                return await self.behaviours.get(route.replica, echo)(sent)
        except TimeoutError as err:
            self.cancelled.append(route.replica)
            raise TransportError(grpc.StatusCode.DEADLINE_EXCEEDED, f"{route.replica}: out of time") from err
        except asyncio.CancelledError:
            self.cancelled.append(route.replica)
            raise

    @property
    def tried(self) -> list[str]:
        return [sent.replica for sent in self.sent]


async def echo(sent: Sent) -> Answer:
    return Answer(sent.payload, (("skerry-site", f"site-{sent.replica}"),))


async def hang(sent: Sent) -> Answer:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


def answer_after(delay_s: float) -> Behaviour:
    async def behaviour(sent: Sent) -> Answer:
        await asyncio.sleep(delay_s)
        return await echo(sent)

    return behaviour


def fail(code: grpc.StatusCode, message: str = "on purpose", metadata: Metadata = ()) -> Behaviour:
    async def behaviour(sent: Sent) -> Answer:
        raise TransportError(code, message, metadata)

    return behaviour
