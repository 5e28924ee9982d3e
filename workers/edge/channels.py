"""Connections to a front: one per class of traffic, and how long to wait between two tries."""

import random

import grpc

from workers.identity.folder import Pems
from workers.identity.names import Role
from workers.identity.tls import asking_for, credentials_of

CONNECT_WAIT_S = 5.0

RETRY_FIRST_S = 0.2
RETRY_MOST_S = 5.0

_OPTIONS = (
    # Without it grpc may carry two classes over one connection, and a download would delay a heartbeat.
    ("grpc.use_local_subchannel_pool", 1),
    # A dead WAN sends no FIN. What is written and not acknowledged within the timeout ends the connection (it becomes
    # TCP_USER_TIMEOUT), so that heartbeats find it; pings find what a proxy acknowledges in the place of the front.
    ("grpc.keepalive_timeout_ms", 10_000),
    # The former counts only bytes that TCP could not deliver: behind a proxy that takes them, an unanswered ping would
    # end the connection after a minute.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
)


# How long a connection may be idle before it is pinged. An address translator forgets an idle connection after minutes,
# the meanest after half of one; each ping costs its bytes, and on metered links they add up to most of an idle node's.
_KEEPALIVE = (("grpc.keepalive_time_ms", 30_000),)
# grpc pings after data came, to learn how large a window the link deserves: of use for bytes, not for small messages.
_NO_WINDOW_PINGS = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 20))

BULK = RELAY = _KEEPALIVE
QUICK_RELAY = (("grpc.keepalive_time_ms", 10_000),)  # for fronts that ask for quick beats: bytes are no concern there
# A link that is dead behind a proxy is found 40 s later: a single writer is given a minute since the last beat.
CONTROL = (*_KEEPALIVE, *_NO_WINDOW_PINGS)
# Between two probes nobody needs it: a connection that was forgotten costs one failed probe.
PROBE = (("grpc.keepalive_time_ms", 3_600_000), *_NO_WINDOW_PINGS)


def open_channel(front: str, pems: Pems | None = None, traffic: tuple[tuple[str, int], ...] = BULK) -> grpc.aio.Channel:
    """A connection of its own, for one class of traffic; plain text without an identity.

    Keep the channel: a stub does not.
    """
    if pems is None:
        return grpc.aio.insecure_channel(front, options=_OPTIONS + traffic)
    return grpc.aio.secure_channel(front, credentials_of(pems), options=(*_OPTIONS, *traffic, *asking_for(Role.FRONT)))


class Backoff:
    """Waits that double up to a most, with jitter: a front that comes back is not met by its whole fleet at once."""

    def __init__(self, chance: random.Random, first_s: float = RETRY_FIRST_S, most_s: float = RETRY_MOST_S) -> None:
        self._chance, self._first_s, self._most_s = chance, first_s, most_s
        self._failures = 0

    def next_s(self) -> float:
        """Between half and all of the wait that is due."""
        due_s = min(self._most_s, self._first_s * 2.0 ** min(self._failures, 20))
        self._failures += 1
        return due_s * self._chance.uniform(0.5, 1.0)

    def reset(self) -> None:
        self._failures = 0
