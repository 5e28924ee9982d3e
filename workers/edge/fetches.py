"""Artifacts on their way to this node: verified, being fetched, or waiting to be tried again. Pure."""

from dataclasses import dataclass

from workers.edge.actions import Action, CancelFetch, FetchArtifact
from workers.edge.assignment import Artifact, ReplicaAssignment

RETRY_FIRST_S = 0.5
RETRY_MOST_S = 30.0


@dataclass(slots=True)
class Fetch:
    """One artifact that is wanted and not verified."""

    artifact: Artifact
    fetched_bytes: int = 0
    running: bool = True
    failures: int = 0
    reason: str = ""  # of the last failure
    retry_at_s: float = 0.0


class Fetches:
    """One fetch per digest, however many replicas want it."""

    def __init__(self) -> None:
        self.verified: set[str] = set()
        self._fetches: dict[str, Fetch] = {}

    def want(self, replica: ReplicaAssignment, now_s: float) -> list[Action]:
        """Start the fetch if it is neither done, nor running, nor waiting for its next try."""
        artifact = replica.content.artifact
        fetch = self._fetches.get(artifact.digest)
        if artifact.digest in self.verified or (fetch and (fetch.running or now_s < fetch.retry_at_s)):
            return []
        if fetch is None:
            self._fetches[artifact.digest] = Fetch(artifact)
        else:
            fetch.running, fetch.artifact = True, artifact
        return [FetchArtifact(artifact, replica.content.namespace, replica.rollout_bps)]

    def state(self, digest: str) -> Fetch | None:
        return self._fetches.get(digest)

    def progressed(self, digest: str, fetched_bytes: int) -> None:
        if fetch := self._fetches.get(digest):
            fetch.fetched_bytes = fetched_bytes

    def succeeded(self, digest: str) -> None:
        self._fetches.pop(digest, None)
        self.verified.add(digest)

    def failed(self, digest: str, reason: str, now_s: float) -> None:
        fetch = self._fetches.get(digest)
        if fetch is None or not fetch.running:
            return
        fetch.running, fetch.reason = False, reason
        fetch.retry_at_s = now_s + min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** min(fetch.failures, 10))
        fetch.failures += 1

    def spoilt(self, artifact: Artifact, reason: str, now_s: float) -> None:
        """It was verified once and is wrong now: fetch it again."""
        self.verified.discard(artifact.digest)
        self._fetches.setdefault(artifact.digest, Fetch(artifact))
        self.failed(artifact.digest, reason, now_s)

    def described_anew(self, artifact: Artifact) -> None:
        """Its bytes are what they were, but not what is said of them: fetch that."""
        self.verified.discard(artifact.digest)

    def retry_now(self) -> None:
        """The link is back: what failed for want of it need not wait."""
        for fetch in self._fetches.values():
            fetch.retry_at_s = 0.0

    def forget(self, needed: frozenset[str]) -> list[Action]:
        """Drop the fetches that nobody needs any more."""
        gone = [digest for digest in sorted(self._fetches) if digest not in needed]
        running = [digest for digest in gone if self._fetches.pop(digest).running]
        return [CancelFetch(digest) for digest in running]
