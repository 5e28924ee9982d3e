"""Keeps the node's certificate young: renewed by its key, while everything goes on."""

import asyncio
import json
import logging
import os
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from workers.edge import membership
from workers.edge.channels import Backoff
from workers.edge.clock import Clock
from workers.edge.dialling import Fronts
from workers.edge.errors import EdgeError
from workers.edge.membership import Membership
from workers.edge.plan import plan_of
from workers.identity.errors import IdentityError
from workers.identity.folder import folder_of

LOOK_EVERY_S = 30.0  # the wall clock may be set, and a machine may sleep
RETRY_FIRST_S, RETRY_MOST_S = 5.0, 600.0
REVOKED_WAIT_S = 600.0
WITHIN_S = 120.0  # several addresses, none of which answers

Learn = Callable[[Fronts], Awaitable[None]]

_log = logging.getLogger(__name__)


class Renewal:
    """One node's. `learn` is told of the fronts; `retry`: how long to wait after a failure."""

    def __init__(self, root: Path, learn: Learn, retry: Backoff | None = None) -> None:
        self._root, self._learn, self._clock = root, learn, Clock(root)
        self._chance = random.Random()
        self._retry = retry or Backoff(self._chance, RETRY_FIRST_S, RETRY_MOST_S)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            while (left_s := self._due_s() - self._clock.now().timestamp()) > 0:
                await asyncio.sleep(min(left_s, LOOK_EVERY_S))
                self._note_time()
            await asyncio.sleep(await self.try_once())

    async def try_once(self) -> float:
        """Renew; answers how long to leave it at that, in seconds: 0 when it was renewed."""
        outcome = await _outcome(self._root)
        said = str(outcome.get("said"))
        if outcome.get("kind") == "renewed":
            return await self._renewed(outcome, said)
        if outcome.get("kind") == "revoked":
            _log.error("the certificate is not renewed: the node was revoked", extra={"reason": said})
            return REVOKED_WAIT_S * self._chance.uniform(0.5, 1)
        wait_s = self._retry.next_s()
        _log.warning("the certificate is not renewed yet", extra={"reason": said, "again_in_s": round(wait_s)})
        return wait_s

    async def _renewed(self, outcome: dict[str, Any], said: str) -> float:
        fronts, enrolments, pins = (tuple(outcome[name]) for name in ("fronts", "enrolments", "pins"))

        def told(joined: Membership) -> Membership:
            return replace(joined.told(fronts, enrolments), pins=pins)

        try:
            await asyncio.to_thread(membership.change, self._root, told)
        except (OSError, EdgeError) as err:
            _log.error("cannot write down what was told: free space on the disk", extra={"error": str(err)})
        await self._learn(fronts)
        self._retry.reset()
        _log.info("the certificate is renewed", extra={"certificate": said})
        return 0.0

    def _due_s(self) -> float:
        """Since 1970; at once if there is no certificate that can be read."""
        try:
            folder_of(self._root).pems()
        except (IdentityError, OSError) as err:
            _log.error("there is no certificate that can be read; asking for another", extra={"reason": str(err)})
            return 0.0
        return plan_of(self._root).renew_at_s

    def _note_time(self) -> None:
        try:
            self._clock.note()
        except OSError as err:
            _log.error("cannot write down the time: free space on the disk", extra={"error": str(err)})


async def _outcome(root: Path) -> dict[str, Any]:
    """Of a process of its own (see workers/edge/renewing.py)."""
    command = [sys.executable, "-P", "-m", "workers.edge.renewing", str(root)]
    environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}
    try:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environment)
    except OSError as err:
        return {"kind": "failed", "said": f"no process can be started for it: {err}"}
    try:
        async with asyncio.timeout(WITHIN_S):
            written, _ = await process.communicate()
        found = json.loads(written)
    except (TimeoutError, ValueError) as err:
        return {"kind": "failed", "said": f"its process ended with {process.returncode}: {err}; see the log above"}
    finally:
        if process.returncode is None:
            process.kill()
    return found if isinstance(found, dict) else {}
