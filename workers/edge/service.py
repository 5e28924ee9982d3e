"""Tells a service manager how the agent is: systemd's protocol of notifications, which is a datagram of a few words."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, MutableMapping

_log = logging.getLogger(__name__)


class ServiceManager:
    """Nobody's, where none is there: then nothing is sent."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Takes the variables out of the environment: replicas' processes are not to speak for the agent."""
        self._address = environ.pop("NOTIFY_SOCKET", "")
        period_us, process = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        meant = process in ("", str(os.getpid()))
        self._period_s = int(period_us) / 1e6 if meant and period_us.isdecimal() else 0.0

    async def watched(self, problem: Callable[[], str]) -> None:
        """READY now, then a sign of life from this loop as often as is asked for. `problem`: the link's, for people.

        A loop that hangs sends none, and the manager starts the agent again.
        """
        said = self._status(problem())
        self._send(f"READY=1\n{said}")
        while self._address and self._period_s:
            await asyncio.sleep(self._period_s / 2)
            now = self._status(problem())
            self._send("WATCHDOG=1" if now == said else f"WATCHDOG=1\n{now}")
            said = now
        await asyncio.Event().wait()

    def stopping(self) -> None:
        self._send("STOPPING=1\nSTATUS=finishing the calls under way")

    @staticmethod
    def _status(problem: str) -> str:
        return f"STATUS={' '.join(problem.split()) if problem else 'attached'}"[:500]

    def _send(self, words: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.settimeout(1.0)
                manager.sendto(words.encode(), address)
        except OSError as err:
            _log.warning("the service manager cannot be told", extra={"address": self._address, "error": str(err)})
