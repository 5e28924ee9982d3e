"""Which front a node dials, and with what it proves itself there."""

import asyncio
import datetime
import logging
import time
from collections.abc import Callable, Iterable

import grpc

from workers.edge.addresses import usable
from workers.edge.channels import BULK, open_channel
from workers.edge.errors import EdgeError
from workers.identity.connecting import on_loopback
from workers.identity.errors import IdentityError
from workers.identity.folder import IdentityFolder, Pems

Fronts = tuple[str, ...]

_log = logging.getLogger(__name__)


class Dial:
    """Fronts in their order, of which one is dialled now. Without an identity: plain text, to loopback only."""

    def __init__(
        self,
        fronts: Iterable[str],
        identity: IdentityFolder | None = None,
        keep: Callable[[Fronts], None] | None = None,
        pinned: bool = False,
        ends_s: Callable[[], float] = float,
    ) -> None:
        """At least one front. `keep`: writes a new list down, and may raise OSError or EdgeError.

        `pinned`: no other is ever dialled, such as one that the way to it does not lead through.
        `ends_s`: when the own certificate ends, since 1970; 0: nobody knows.
        """
        self._fronts, self._identity, self._keep = tuple(fronts), identity, keep
        self._pinned, self._ends_s = pinned, ends_s
        self._pems: Pems | None = None  # as last read: a file that is spoilt later ends no link
        self._spoilt = ""
        self.front = self._fronts[0]

    def open(self, traffic: tuple[tuple[str, int], ...] = BULK) -> grpc.aio.Channel:
        """A connection of its own to the front, for one class of traffic. Keep the channel: a stub does not.

        Raises IdentityError, OSError.
        """
        return open_channel(self.front, self._pems_now() if self._identity else None, traffic)

    def advance(self) -> None:
        """The front is gone: on to the next one, round and round."""
        try:
            after = self._fronts.index(self.front) + 1
        except ValueError:
            after = 0
        self.front = self._fronts[after % len(self._fronts)]

    async def learn(self, told: Iterable[str]) -> None:
        """What a front says of all fronts; the one that is dialled stays until it is gone."""
        if self._pinned:
            return
        fronts = usable(told) if self._identity else tuple(each for each in usable(told) if on_loopback(each))
        if not fronts or fronts == self._fronts:
            return
        _log.info("the fronts are others now", extra={"fronts": fronts, "before": self._fronts})
        self._fronts = fronts
        if self._keep:
            try:
                await asyncio.to_thread(self._keep, fronts)
            except (OSError, EdgeError) as err:
                _log.error("cannot write down the fronts: free space on the disk", extra={"error": str(err)})

    def trouble(self) -> str:
        """What of the own certificate may be the reason that no front answers; TLS does not say. Empty: nothing."""
        ends = datetime.datetime.fromtimestamp(self._ends_s(), datetime.UTC)
        if self._pems and 0 < ends.timestamp() < time.time():
            return f"this node's certificate ended on {ends:%Y-%m-%d %H:%M} UTC, and is being renewed"
        return ""

    def _pems_now(self) -> Pems:
        """Raises IdentityError, OSError."""
        assert self._identity is not None
        try:
            self._pems, self._spoilt = self._identity.pems(), ""
        except (IdentityError, OSError) as err:
            if self._pems is None:
                raise
            if str(err) != self._spoilt:
                self._spoilt = str(err)
                _log.error("cannot read the certificate; going on with the former", extra={"reason": self._spoilt})
        return self._pems
