"""Brings a region's Serve to the ledger, beside the loop: a deployment takes seconds, a tick must not."""

import asyncio
import logging

from orchestrator.control.seams import Cloud
from orchestrator.errors import CloudUnavailable
from orchestrator.model.running import CloudReplicas

log = logging.getLogger(__name__)

RETRY_S = 15.0


class RegionKeeper:
    """One call to Serve at a time; what failed is tried again after a while, and its reason is kept until it works."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._calling: asyncio.Task[None] | None = None
        self._deployed: list[CloudReplicas] | None = None
        self._asked: list[CloudReplicas] | None = None
        self._problems: dict[tuple[str, str], str] = {}
        self._retry_at_s = 0.0

    @property
    def problem(self) -> str:
        """Why the region does not run what it should; empty when it does."""
        return "; ".join(f"{'/'.join(key)} {why}".strip("/ ") for key, why in sorted(self._problems.items()))

    def bring_to(self, wanted: list[CloudReplicas], now_s: float) -> None:
        """Called at each tick. Raises what a call raised that is not CloudUnavailable: that is a bug."""
        if self._calling is not None:
            if not self._calling.done():
                return
            self._calling.result()
        due = now_s >= self._retry_at_s
        if wanted != self._asked or (due and (self._problems or wanted != self._deployed)):
            self._asked, self._retry_at_s = wanted, now_s + RETRY_S
            self._calling = asyncio.create_task(self._deploy(wanted))
        elif wanted and wanted == self._deployed:
            self._calling = asyncio.create_task(self._look())

    async def _deploy(self, wanted: list[CloudReplicas]) -> None:
        try:
            await self._cloud.deploy(wanted)
        except CloudUnavailable as err:
            self._problems = {("", ""): str(err)}
            log.warning("deployment failed", extra={"reason": str(err)})
            return
        self._problems, self._deployed = {}, wanted

    async def _look(self) -> None:
        """What Serve says of what it was asked to run."""
        try:
            found = dict(await self._cloud.problems())
        except CloudUnavailable as err:
            found = {("", ""): str(err)}
        if found and found != self._problems:
            log.warning("region cannot run what it should", extra={"problems": str(found)})
        self._problems = found
