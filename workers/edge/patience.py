"""How long a node waits for a front that is busy, and how the front tells it when to come back.

The front says so in the trailing metadata of UNAVAILABLE, as google.rpc.RetryInfo does without its proto; gRPC's own
key for it, grpc-retry-pushback-ms, is read by the library and does not reach the caller.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

RETRY_AFTER_KEY = "skerry-retry-after-ms"
MOST_RETRY_AFTER_S = 300.0

WELCOME_WAIT_S = 5.0
LONGEST_WELCOME_WAIT_S = 60.0


def retry_after(wait_s: float) -> tuple[tuple[str, str], ...]:
    """Trailing metadata."""
    return ((RETRY_AFTER_KEY, str(round(wait_s * 1000))),)


def told_to_wait_s(err: grpc.aio.AioRpcError) -> float | None:
    """None: the front did not say, or not in a way that makes sense."""
    if err.code() is not grpc.StatusCode.UNAVAILABLE:
        return None
    said = next((str(value) for key, value in err.trailing_metadata() if key == RETRY_AFTER_KEY), "")
    return min(int(said) / 1000, MOST_RETRY_AFTER_S) if said.isascii() and said.isdecimal() else None


class Patience:
    """For the front's welcome: twice as long after each one that did not come in time.

    A node that gives up too early makes the front do the work of attaching it again, which is what it waits for.
    """

    def __init__(self) -> None:
        self._wait_s = self.waited_s = WELCOME_WAIT_S

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Raises TimeoutError."""
        self.waited_s = self._wait_s
        try:
            async with asyncio.timeout(self._wait_s):
                yield
        except TimeoutError:
            self._wait_s = min(2 * self._wait_s, LONGEST_WELCOME_WAIT_S)
            raise
        self._wait_s = WELCOME_WAIT_S
