"""Takes samples of a leg by echoes over link/v1 Probe.

Small echoes give the round trip: of `TRIES` in a row the quickest is the sample, as NTP's clock filter does it, since a
busy machine at either end delays one echo and not the next. A leg is the unloaded trip; what queues at a server shows
in its service time. Every `TRANSFER_EVERY`-th is followed by one sized payload up and one down; what each
took beyond the round trip is transfer time. The size follows the link, so that a slow one is not filled by being
measured and a fast one is measured at all.

At rest a leg is probed sparingly: an echo that agrees with the samples before it is sample enough, and transfers are
small and so rare that they take no more than REST_BPS.

A prober that is given a handshake takes the round trip from it, and from the echoes only their median beyond it: what
the application, and a proxy that answers handshakes itself, add. Then no busy process is taken for the link's tail.
"""

import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

from workers.probe.legs import RECENT, RoundTrip, Sample, Transfer, quantile

METHOD = "grpc-echo-min3"
HANDSHAKE_METHOD = "tcp-handshake+grpc-echo-p50"
TRIES = 3
TRANSFER_EVERY = 40  # a transfer delays the calls beside it: rare enough to stay out of their p99
FIRST_ECHOES = 4  # taken at once, so that a leg is known within its first round trips

LEAST_BYTES = 16 << 10
MOST_BYTES = 1 << 20  # the wire's limit
LEAST_TRANSFER_S = 0.02  # shorter: twice the size next time
MOST_TRANSFER_S = 0.2  # longer: half the size next time
AGREES, AGREES_S = 1.1, 0.000_3  # to the median of the samples before: no second try
REST_BPS = 50.0  # each way, over months
REST_BYTES = 128 << 10  # of a transfer at most
BEYOND = 16  # echoes of which the median is what is added to a handshake

# Sends a payload, asks for `reply_bytes` back, returns when they came.
Echo: TypeAlias = Callable[[bytes, int], Awaitable[None]]
# Seconds of one connection's handshake.
Handshake: TypeAlias = Callable[[], Awaitable[float]]


class EchoProber:
    """One leg's prober. `now_s` is a steady clock; an error of what it calls passes through and spoils no sample."""

    def __init__(
        self, echo: Echo, handshake: Handshake | None = None, now_s: Callable[[], float] = time.perf_counter
    ) -> None:
        self.echo = echo  # may be another one later: the same leg over another connection
        self._handshake, self._now_s = handshake, now_s
        self._beyond_s: deque[float] = deque(maxlen=BEYOND)
        self._taken = 0
        self._transfer_bytes = 64 << 10
        self._recent_s: deque[float] = deque(maxlen=RECENT)
        self._transfer_due_s = 0.0
        self.sparing = False

    @property
    def young(self) -> bool:
        """The next echo should follow at once."""
        return self._taken < FIRST_ECHOES

    async def samples(self) -> AsyncIterator[Sample]:
        """One probing: a round trip and, when it is due, a transfer."""
        echo_s = await self._quickest()
        if self._handshake is None:
            round_trip = RoundTrip(echo_s * 1000, METHOD)
        else:
            handshake_s = await self._handshake()
            self._beyond_s.append(max(0.0, echo_s - handshake_s))
            round_trip = RoundTrip((handshake_s + quantile(self._beyond_s, 0.5)) * 1000, HANDSHAKE_METHOD)
        self._taken += 1
        yield round_trip
        if self._taken % TRANSFER_EVERY == FIRST_ECHOES and self._now_s() >= self._transfer_due_s:
            yield await self._transfer(echo_s)

    async def _quickest(self) -> float:
        quickest_s = math.inf
        for _ in range(TRIES):
            quickest_s = min(quickest_s, await self._timed(b"", 0))
            if self.sparing and self._recent_s and quickest_s <= AGREES * quantile(self._recent_s, 0.5) + AGREES_S:
                break
        self._recent_s.append(quickest_s)
        return quickest_s

    async def _transfer(self, rtt_s: float) -> Transfer:
        sent_bytes = self._transfer_bytes
        up_s = await self._timed(bytes(sent_bytes), 0)
        down_s = await self._timed(b"", sent_bytes)
        self._transfer_bytes = _next_bytes(sent_bytes, max(up_s, down_s) - rtt_s)
        if self.sparing:
            self._transfer_bytes = min(self._transfer_bytes, REST_BYTES)
            self._transfer_due_s = self._now_s() + 8 * sent_bytes / REST_BPS
        return Transfer(sent_bytes, max(0.0, up_s - rtt_s), sent_bytes, max(0.0, down_s - rtt_s), METHOD)

    async def _timed(self, payload: bytes, reply_bytes: int) -> float:
        start_s = self._now_s()
        await self.echo(payload, reply_bytes)
        return self._now_s() - start_s


def _next_bytes(sent_bytes: int, taken_s: float) -> int:
    if taken_s < LEAST_TRANSFER_S:
        return min(MOST_BYTES, 2 * sent_bytes)
    if taken_s > MOST_TRANSFER_S:
        return max(LEAST_BYTES, sent_bytes // 2)
    return sent_bytes
