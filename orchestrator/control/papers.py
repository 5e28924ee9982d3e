"""What is said of the artifacts that nodes should hold, and who is trusted to say it."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace

from orchestrator.clock import Clock
from orchestrator.control.trusting import TrustFolder
from orchestrator.model.ids import NodeName
from orchestrator.reconcile.assignments import AssignedReplica
from workers.artifacts.describing import Described, Describer
from workers.artifacts.errors import ArtifactError

log = logging.getLogger(__name__)

EVERY_S = 1.0
# A node that is told of an artifact before its manifest fetches the whole of it. To look one up takes milliseconds, to
# cut and sign a large one that is older than manifests seconds: it goes on beside the loop.
WAIT_S = 5.0
TRY_AGAIN_S = 60.0  # what is not in the library


class ArtifactPapers:
    """Versions are described when they are registered; here are looked up those, and described what is older."""

    def __init__(self, describer: Describer, trusted: TrustFolder, clock: Clock) -> None:
        """Blocks on the disk."""
        self._describer, self._trusted, self._clock = describer, trusted, clock
        self._known: dict[tuple[str, str], Described] = {}  # by namespace and digest
        self._tried_s: dict[tuple[str, str], float] = {}
        self.trust = trusted.read()

    async def run(self) -> None:
        """Notices what operators trust and revoke, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self.trust = await asyncio.to_thread(self._trusted.read)

    async def described(
        self, assigned: Mapping[NodeName, tuple[AssignedReplica, ...]]
    ) -> dict[NodeName, tuple[AssignedReplica, ...]]:
        new = {_key(r): r for held in assigned.values() for r in held if self._is_due(_key(r))}
        with contextlib.suppress(TimeoutError):  # the thread goes on, and the next tick finds what it made
            async with asyncio.timeout(WAIT_S):
                for replica in new.values():
                    await asyncio.to_thread(self._describe, replica)
        return {node: tuple(self._with_papers(replica) for replica in held) for node, held in assigned.items()}

    def _is_due(self, key: tuple[str, str]) -> bool:
        return key not in self._known and self._clock.now_s() - self._tried_s.get(key, -TRY_AGAIN_S) >= TRY_AGAIN_S

    def _describe(self, replica: AssignedReplica) -> None:
        key = _key(replica)
        self._tried_s[key] = self._clock.now_s()
        of = (replica.digest, replica.size_bytes, replica.format, replica.namespace)
        try:
            self._known[key] = self._describer.describe(*of)
        except (ArtifactError, OSError) as err:
            facts = {"digest": replica.digest, "namespace": replica.namespace, "reason": str(err)}
            log.warning("an assigned artifact cannot be described: nodes fetch the whole of it", extra=facts)

    def _with_papers(self, replica: AssignedReplica) -> AssignedReplica:
        found = self._known.get(_key(replica))
        return replace(replica, manifest=found.manifest, signature=found.signature) if found else replica


def _key(replica: AssignedReplica) -> tuple[str, str]:
    return replica.namespace, replica.digest
