"""`python -m tests.testbed.plane`: the control plane on its real store and wire, in a region without cloud replicas.

Without Ray it starts in two seconds, not in twenty; all that these tests ask of a region is that it is there. As
`skerry up` does, it first certifies the front beside it.
"""

import asyncio
import datetime
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.authority.opening import open_authority
from orchestrator.authority.parts import certify_part
from orchestrator.clock import SystemClock
from orchestrator.control.process import run_plane
from orchestrator.errors import CloudUnavailable
from orchestrator.lines import log_to
from orchestrator.model.running import CloudReplicas, JobProgress
from orchestrator.settings import Settings, settings_from
from orchestrator.store import open_store
from tests.testbed.installation import FRONT
from workers.identity.folder import IdentityFolder
from workers.identity.names import Role


class EmptyRegion:
    """Implements control's Cloud seam: takes no replica, which no policy of these tests asks of it."""

    async def deploy(self, wanted: Sequence[CloudReplicas]) -> None:
        if wanted:
            raise CloudUnavailable("this region has no machines")

    async def problems(self) -> Mapping[tuple[str, str], str]:
        return {}


class NoCluster:
    """Implements control's Trainer seam: trains nothing."""

    async def submit(self, job: str, spec_json: str, out_dir: Path) -> None:
        raise CloudUnavailable("this region has no cluster")

    async def progress(self, job: str) -> JobProgress | None:
        return None

    async def stop(self, job: str) -> None: ...

    async def logs(self, job: str, offset: int) -> tuple[list[str], int]:
        return [], offset


def certify_front(settings: Settings) -> None:
    now = datetime.datetime.now(datetime.UTC)
    folder = IdentityFolder(settings.identity_dir(FRONT))
    certify_part(open_authority(settings.authority, now), folder, Role.FRONT, FRONT, [*settings.hosts], now)


async def serve(settings: Settings) -> None:
    store = await asyncio.to_thread(open_store, settings.store)
    ready = lambda: print("control plane serves", flush=True)  # noqa: E731
    await run_plane(settings, store, EmptyRegion(), NoCluster(), SystemClock(), ready)


def main() -> None:
    log_to(sys.stderr)
    settings = settings_from()
    certify_front(settings)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
