"""Performs what the agent asks: disk, models, reports. What comes of it goes back as events."""

import asyncio
import errno
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TypeVarTuple

from workers.artifacts.checking import check_apart
from workers.artifacts.disk import ArtifactFolder
from workers.artifacts.errors import ArtifactError, CheckBroken, SignatureRefused
from workers.artifacts.trust import Trust
from workers.edge.actions import (
    Action,
    CancelFetch,
    CheckTrust,
    DescribeModel,
    DrainModel,
    FetchArtifact,
    LoadModel,
    PruneArtifacts,
    SaveAssignment,
    SaveContact,
    SendReport,
    UnloadModel,
)
from workers.edge.apart import Processes, ReplicaEnded
from workers.edge.assignment import Artifact, Assignment, LanDemand, Report
from workers.edge.events import (
    ArtifactSpoilt,
    ArtifactVerified,
    Event,
    FetchFailed,
    FetchProgressed,
    LoadRefused,
    ModelDrained,
    ModelEnded,
    ModelLoaded,
    ModelLoadFailed,
)
from workers.edge.fetching import Fetching
from workers.edge.giver import FetchBroken
from workers.edge.link import Link
from workers.edge.models import EdgeModels
from workers.edge.neighbours import Neighbours, Stock
from workers.edge.state import Json, StateFolder
from workers.edge.status import status_of
from workers.edge.trials import Trials
from workers.inference.errors import ModelLoadFailed as LoadFailed

# A retired load goes on for those who name it: their routes change only after the successor was reported.
LINGER_S = 1.0
FETCHES_AT_ONCE = 2
PAPERS_WAIT_S, PAPERS_EVERY_S = 60.0, 0.5
LOADS_AT_ONCE = 4

Arguments = TypeVarTuple("Arguments")

_log = logging.getLogger(__name__)


class _PaperGone(ArtifactError):
    """What is said of the artifact is not on disk; it can be fetched."""


class Host:
    """One node's machine, as its agent uses it."""

    def __init__(
        self,
        state: StateFolder,
        models: EdgeModels,
        link: Link,
        about: dict[str, Json],
        demand: Callable[[], tuple[LanDemand, ...]] = tuple,
        processes: Processes | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        """`demand`: what LAN callers have asked for so far."""
        self._state, self._models, self._link, self._about, self._demand = state, models, link, about, demand
        self._artifacts = ArtifactFolder(state.artifacts)
        self._trials = Trials(state.root / "tried", processes or Processes())
        self.stock = Stock(self._artifacts)
        self._neighbours = neighbours or Neighbours("")
        self._fetching = Fetching(self.stock, link, self._neighbours)
        self._trust = Trust()
        # One thread: what is saved later was decided later.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="disk")
        # Apart from the threads of all else: loads that hang must not keep a fetch from being checked.
        self._loading = ThreadPoolExecutor(LOADS_AT_ONCE, thread_name_prefix="load")
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._at_once = asyncio.Semaphore(FETCHES_AT_ONCE)

    async def perform(self, action: Action, inbox: asyncio.Queue[Event]) -> None:
        """Ends when the action is done; its failure is an event, or is logged where the agent could not help."""
        match action:
            case FetchArtifact():
                await self._fetch(action, inbox)
            case CancelFetch():
                if task := self._fetches.get(action.digest):
                    task.cancel()
            case LoadModel():
                loop = asyncio.get_running_loop()

                def tell(event: Event) -> None:
                    with suppress(RuntimeError):  # the loop is closed: the agent has stopped
                        asyncio.run_coroutine_threadsafe(inbox.put(event), loop)

                await inbox.put(await loop.run_in_executor(self._loading, self._load, action, tell))
            case CheckTrust():
                await self._check_again(action, inbox)
            case DescribeModel():
                self._models.describe(action.replica, action.incarnation)
            case DrainModel():
                await self._drain(action.incarnation, inbox)
            case UnloadModel():
                self._models.unload(action.incarnation)
            case _:
                await self._write_down(action)

    def artifacts(self) -> tuple[tuple[str, int], ...]:
        """What is on disk, with sizes, the oldest first."""
        return tuple(self._artifacts.held())

    def hold(self, assignment: Assignment) -> None:
        """From now on its keys are trusted; callers of its services are told "not ready" rather than "unknown"."""
        self._trust = assignment.trust or Trust()
        self._neighbours.hold(assignment.peers)
        self._models.await_services(frozenset(replica.model_key for replica in assignment.replicas))

    async def _write_down(self, action: Action) -> None:
        match action:
            case SaveAssignment():
                self.hold(action.assignment)
                await self._on_disk(self._state.save_assignment, action.assignment)
            case SaveContact():
                await self._on_disk(self._state.save_contact, action.offline_s)
            case PruneArtifacts():
                await self._on_disk(self._prune, action.keep)
            case SendReport():
                self._link.send(replace(action.report, demand=self._demand()))
                await self._on_disk(self._save_status, action.report, self._link.problem)
            case _:
                raise AssertionError(f"no way to perform {action}")

    async def _on_disk(self, work: Callable[[*Arguments], None], *arguments: *Arguments) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)
        except OSError as err:
            facts = {"path": str(self._state.root), "error": str(err)}
            _log.error(
                "The state folder cannot be written: free space on its disk; a reboot would lose this", extra=facts
            )

    async def _fetch(self, order: FetchArtifact, inbox: asyncio.Queue[Event]) -> None:
        """One fetch of an artifact at a time: one that was cancelled may still be closing its file."""
        digest = order.artifact.digest
        former, this = self._fetches.get(digest), asyncio.current_task()
        assert this is not None
        self._fetches[digest] = this
        try:
            if former:
                await asyncio.wait([former])
            async with self._at_once:
                event = await self._fetched(order, inbox)
            await inbox.put(event)
        finally:
            if self._fetches.get(digest) is this:
                del self._fetches[digest]

    async def _fetched(self, order: FetchArtifact, inbox: asyncio.Queue[Event]) -> Event:
        digest = order.artifact.digest

        def progress(fetched_bytes: int) -> None:
            if not inbox.full():  # the next one says more
                inbox.put_nowait(FetchProgressed(digest, fetched_bytes))

        try:
            await self._fetching.fetch(order, progress)
        except (FetchBroken, ArtifactError) as err:
            return FetchFailed(digest, str(err))
        except OSError as err:
            full = err.errno in (errno.ENOSPC, errno.EDQUOT)
            return FetchFailed(digest, f"{err}: free space on the disk of {self._state.root}", full)
        return ArtifactVerified(digest)

    def _load(self, action: LoadModel, tell: Callable[[Event], None]) -> Event:
        """In a thread: checks the file and who vouches for it once more, then loads it."""
        artifact = action.replica.content.artifact
        try:
            path = self._artifacts.verified(artifact.digest)
            if path is None:
                return ArtifactSpoilt(action.incarnation, "the file on disk was spoilt or gone; it is fetched again")
            self._check(artifact, action.silent_s)
            self._trials.pass_first(action.replica, self._models.source(action.replica, action.incarnation, path))
            self._models.load(action.replica, action.incarnation, path, lambda why: self._ended(action, why, tell))
        except SignatureRefused as err:
            return LoadRefused(action.incarnation, str(err))
        except (_PaperGone, CheckBroken) as err:
            return ArtifactSpoilt(action.incarnation, str(err))
        except (ArtifactError, OSError) as err:
            return ArtifactSpoilt(action.incarnation, f"the file on disk cannot be read: {err}")
        except LoadFailed as err:
            return ModelLoadFailed(action.incarnation, str(err))
        except ReplicaEnded as err:
            return ModelLoadFailed(action.incarnation, str(err), again=True)
        return ModelLoaded(action.incarnation)

    def _ended(self, action: LoadModel, reason: str, tell: Callable[[Event], None]) -> None:
        """In a thread: a model's own process is gone. Its callers are sent elsewhere before the agent knows."""
        _log.error("the process of a replica ended", extra={"incarnation": action.incarnation, "reason": reason})
        self._models.unload(action.incarnation)
        tell(ModelEnded(action.incarnation, reason))

    async def _check_again(self, action: CheckTrust, inbox: asyncio.Queue[Event]) -> None:
        """A new signature may still be on its way: what runs is not stopped for want of it at once."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + PAPERS_WAIT_S
        while True:
            try:
                return await asyncio.to_thread(self._check, action.replica.content.artifact, 0.0)
            except SignatureRefused as err:
                return await inbox.put(LoadRefused(action.incarnation, str(err)))
            except (ArtifactError, OSError) as err:
                if loop.time() > end_s:
                    return await inbox.put(LoadRefused(action.incarnation, str(err)))
            await asyncio.sleep(PAPERS_EVERY_S)

    def _check(self, artifact: Artifact, silent_s: float) -> None:
        """Raises SignatureRefused, CheckBroken, _PaperGone, OSError."""
        bundle = self._artifacts.papers.find(artifact.digest, artifact.signature) if artifact.signature else None
        if artifact.signature and bundle is None and self._trust.keys:
            raise _PaperGone("its signature was spoilt or gone; it is fetched again")
        check_apart(artifact.digest, artifact.manifest, bundle, self._trust, silent_s)

    async def _drain(self, incarnation: str, inbox: asyncio.Queue[Event]) -> None:
        self._models.retire(incarnation)
        await asyncio.sleep(LINGER_S)
        self._models.drain(incarnation)
        await inbox.put(ModelDrained(incarnation))

    def _prune(self, keep: frozenset[str]) -> None:
        self._trials.forget(keep)
        if gone := self._artifacts.prune(keep):
            _log.info("deleted artifacts that nothing uses", extra={"digests": gone})

    def _save_status(self, report: Report, problem: str) -> None:
        self._state.save_status(status_of(report, self._about, problem))
