"""How an artifact comes to this node: what is said of it first, then the bytes that are missing."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

import grpc

from workers.artifacts.errors import ArtifactCorrupt, ManifestInvalid
from workers.artifacts.manifest import MANIFEST_MOST_BYTES, Manifest, parse_manifest
from workers.artifacts.trust import BUNDLE_MOST_BYTES
from workers.edge import bulk
from workers.edge.actions import FetchArtifact
from workers.edge.assignment import Artifact
from workers.edge.budget import Budget
from workers.edge.chunked import fetch_missing
from workers.edge.giver import FetchBroken, Giver, GiverRefused, Progress
from workers.edge.neighbours import Neighbours, Stock, UnderWay

_log = logging.getLogger(__name__)


class Front(Protocol):
    def bulk(self) -> AbstractAsyncContextManager[Giver]:
        """The front, on a connection of its own. Raises FetchBroken while there is none."""
        ...


@dataclass(frozen=True, slots=True)
class _Givers:
    """Whom to ask, the nearest first."""

    near: list[tuple[Giver, bool]]  # and whether to wait for what it is fetching
    front: Giver | None
    why_no_front: FetchBroken | None = None

    @property
    def all(self) -> list[Giver]:
        return [*(giver for giver, _ in self.near), *((self.front,) if self.front else ())]


class Fetching:
    """One node's, for all its artifacts."""

    def __init__(self, stock: Stock, front: Front, neighbours: Neighbours) -> None:
        self._stock, self._front, self._neighbours, self._budget = stock, front, neighbours, Budget()
        self._folder = stock.folder

    async def fetch(self, order: FetchArtifact, tell: Callable[[int], None]) -> None:
        """Leaves the whole artifact on disk, checked, with its papers. Raises FetchBroken, ArtifactError, OSError.

        Of one that is whole papers may be lacking: it serves without a manifest, and its load asks for its signature.
        """
        artifact = order.artifact
        whole = await asyncio.to_thread(self._folder.verified, artifact.digest) is not None
        lacking = await asyncio.to_thread(self._lacking, artifact)
        if whole and not lacking:
            return
        try:
            async with AsyncExitStack() as until_done:
                givers = await self._givers(until_done)
                await self._fetch_papers(artifact, lacking, givers)
                if not whole:
                    await self._fetch_bytes(order, givers, Progress(tell))
        except FetchBroken as err:
            if not whole:
                raise
            _log.info("papers of an artifact do not come now", extra={"digest": artifact.digest, "reason": str(err)})

    async def _givers(self, until_done: AsyncExitStack) -> _Givers:
        """Without a front the neighbours may do."""
        near = await self._neighbours.reached(until_done)
        try:
            return _Givers(near, await until_done.enter_async_context(self._front.bulk()))
        except FetchBroken as err:
            if not near:
                raise
            return _Givers(near, None, err)

    def _lacking(self, artifact: Artifact) -> list[tuple[str, int]]:
        """Papers that are not on disk, with the most bytes that each may have."""
        papers = ((artifact.manifest, MANIFEST_MOST_BYTES), (artifact.signature, BUNDLE_MOST_BYTES))
        return [each for each in papers if each[0] and self._folder.papers.find(artifact.digest, each[0]) is None]

    async def _fetch_papers(self, artifact: Artifact, lacking: list[tuple[str, int]], givers: _Givers) -> None:
        for digest, most_bytes in lacking:
            data = await _paper(digest, most_bytes, [giver for giver in givers.all if giver.ranges])
            if data is None:
                facts = {"artifact": artifact.digest, "paper": digest}
                _log.warning("nobody has what is said of an artifact; going on without it", extra=facts)
            else:
                await asyncio.to_thread(self._folder.papers.keep, artifact.digest, data)

    async def _fetch_bytes(self, order: FetchArtifact, givers: _Givers, progress: Progress) -> None:
        manifest = await asyncio.to_thread(self._manifest, order)
        if manifest is not None and any(giver.ranges for giver in givers.all):
            await self._fetch_chunks(order, manifest, givers, progress)
        elif givers.front:
            await self._fetch_whole(order, givers.front, progress)
        elif givers.why_no_front:
            raise givers.why_no_front

    async def _fetch_chunks(
        self, order: FetchArtifact, manifest: Manifest, givers: _Givers, progress: Progress
    ) -> None:
        assembly = await asyncio.to_thread(self._folder.assembly, manifest)
        under_way = await self._stock.begin(assembly)
        whole = False
        try:
            await self._fetch_near(givers.near, under_way, progress)
            if givers.front and givers.front.ranges:
                await fetch_missing(givers.front, under_way, self._budget, order.rollout_bps, progress)
            missing = await asyncio.to_thread(assembly.wanted, 1)
            if missing and givers.why_no_front:
                raise givers.why_no_front
            if not missing:
                await asyncio.to_thread(assembly.commit)
            whole = not missing
        finally:
            assembly.close()
            await self._stock.end(under_way, whole)
        if not whole and givers.front:  # it gives no ranges
            await self._fetch_whole(order, givers.front, progress)

    async def _fetch_whole(self, order: FetchArtifact, front: Giver, progress: Progress) -> None:
        await bulk.fetch(front, self._folder, order.artifact, self._budget, order.rollout_bps, progress)

    async def _fetch_near(self, near: list[tuple[Giver, bool]], under_way: UnderWay, progress: Progress) -> None:
        """First what neighbours have, then what they are fetching; whatever happens, the front is left to ask."""
        asks = [(giver, False) for giver, _ in near] + [(giver, True) for giver, waits in near if waits]
        for giver, wait in asks:
            try:
                await fetch_missing(giver, under_way, self._budget, 0, progress, wait)
            except GiverRefused as err:
                if err.code is not grpc.StatusCode.NOT_FOUND:
                    _log.info("a node of the site gives nothing now", extra={"reason": str(err)})
            except (FetchBroken, ArtifactCorrupt) as err:
                _log.warning("a node of the site gives nothing that is right", extra={"reason": str(err)})
            else:
                return

    def _manifest(self, order: FetchArtifact) -> Manifest | None:
        """None: there is none that is right, so the artifact is fetched as a whole."""
        artifact = order.artifact
        data = self._folder.papers.find(artifact.digest, artifact.manifest) if artifact.manifest else None
        try:
            return _checked(parse_manifest(data), order) if data is not None else None
        except ManifestInvalid as err:
            facts = {"artifact": artifact.digest, "manifest": artifact.manifest, "reason": str(err)}
            _log.warning("a manifest is not the artifact's; fetching it as a whole", extra=facts)
            return None


async def _paper(digest: str, most_bytes: int, givers: list[Giver]) -> bytes | None:
    """None: nobody has it. Raises FetchBroken, ArtifactCorrupt, when the last one that was asked fails."""
    failed: FetchBroken | ArtifactCorrupt | None = None
    for giver in givers:
        try:
            return await giver.paper(digest, most_bytes)
        except GiverRefused as err:
            failed = failed if err.code is grpc.StatusCode.NOT_FOUND else err
        except (FetchBroken, ArtifactCorrupt) as err:
            failed = err
    if failed:
        raise failed
    return None


def _checked(manifest: Manifest, order: FetchArtifact) -> Manifest:
    """Raises ManifestInvalid."""
    artifact = order.artifact
    said = (manifest.artifact, manifest.size_bytes, manifest.format, manifest.namespace)
    assigned = (artifact.digest, artifact.size_bytes, artifact.format, order.namespace)
    if said != assigned:
        raise ManifestInvalid(f"it is of {said}, assigned is {assigned}")
    return manifest
