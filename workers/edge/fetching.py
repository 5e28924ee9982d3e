"""How an artifact comes to this node: what is said of it first, then the bytes that are missing."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import grpc

from workers.artifacts.disk import ArtifactFolder
from workers.artifacts.errors import ManifestInvalid
from workers.artifacts.manifest import MANIFEST_MOST_BYTES, Manifest, parse_manifest
from workers.artifacts.trust import BUNDLE_MOST_BYTES
from workers.edge import bulk
from workers.edge.actions import FetchArtifact
from workers.edge.assignment import Artifact
from workers.edge.budget import Budget
from workers.edge.chunked import fetch_missing
from workers.edge.giver import FetchBroken, Giver, GiverRefused, Progress

_log = logging.getLogger(__name__)


class Front(Protocol):
    def bulk(self) -> AbstractAsyncContextManager[Giver]:
        """The front, on a connection of its own. Raises FetchBroken while there is none."""
        ...


class Fetching:
    """One node's, for all its artifacts."""

    def __init__(self, folder: ArtifactFolder, front: Front) -> None:
        self._folder, self._front, self._budget = folder, front, Budget()

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
            async with self._front.bulk() as front:
                await self._fetch_papers(artifact, lacking, front)
                if not whole:
                    await self._fetch_bytes(order, front, Progress(tell))
        except FetchBroken as err:
            if not whole:
                raise
            _log.info("papers of an artifact do not come now", extra={"digest": artifact.digest, "reason": str(err)})

    def _lacking(self, artifact: Artifact) -> list[tuple[str, int]]:
        """Papers that are not on disk, with the most bytes that each may have."""
        papers = ((artifact.manifest, MANIFEST_MOST_BYTES), (artifact.signature, BUNDLE_MOST_BYTES))
        return [each for each in papers if each[0] and self._folder.papers.find(artifact.digest, each[0]) is None]

    async def _fetch_papers(self, artifact: Artifact, lacking: list[tuple[str, int]], giver: Giver) -> None:
        for digest, most_bytes in lacking if giver.ranges else ():
            try:
                data = await giver.paper(digest, most_bytes)
            except GiverRefused as err:
                if err.code is not grpc.StatusCode.NOT_FOUND:
                    raise
                facts = {"artifact": artifact.digest, "paper": digest}
                _log.warning("the front lacks what is said of an artifact; going on without it", extra=facts)
            else:
                await asyncio.to_thread(self._folder.papers.keep, artifact.digest, data)

    async def _fetch_bytes(self, order: FetchArtifact, front: Giver, progress: Progress) -> None:
        manifest = await asyncio.to_thread(self._manifest, order) if front.ranges else None
        if manifest is None:
            await bulk.fetch(front, self._folder, order.artifact, self._budget, order.rollout_bps, progress)
            return
        assembly = await asyncio.to_thread(self._folder.assembly, manifest)
        try:
            await fetch_missing(front, assembly, self._budget, order.rollout_bps, progress)
            await asyncio.to_thread(assembly.commit)
        finally:
            assembly.close()

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


def _checked(manifest: Manifest, order: FetchArtifact) -> Manifest:
    """Raises ManifestInvalid."""
    artifact = order.artifact
    said = (manifest.artifact, manifest.size_bytes, manifest.format, manifest.namespace)
    assigned = (artifact.digest, artifact.size_bytes, artifact.format, order.namespace)
    if said != assigned:
        raise ManifestInvalid(f"it is of {said}, assigned is {assigned}")
    return manifest
