"""What an edge node does next: pure, from events to actions.

The assignment is the node's whole desired state. Every step looks at what is wanted and what is there, and asks for
what brings the two together; so events may be repeated, reordered or lost, and the node still converges. A running
model is given up only when it was asked to drain, when its successor is ready, when its service is gone, or when the
node was offline for longer than its policy allows.
"""

from dataclasses import dataclass

from workers.edge.actions import (
    Action,
    CheckTrust,
    DescribeModel,
    DrainModel,
    LoadModel,
    PruneArtifacts,
    SaveAssignment,
    SaveContact,
    SendReport,
    UnloadModel,
)
from workers.edge.assignment import Artifact, Assignment, Content, Phase, ReplicaAssignment, ReplicaState, Report
from workers.edge.events import (
    ArtifactSpoilt,
    ArtifactVerified,
    AssignmentReceived,
    Event,
    FetchFailed,
    FetchProgressed,
    LinkLost,
    LinkOpened,
    LoadRefused,
    ModelDrained,
    ModelEnded,
    ModelLoaded,
    ModelLoadFailed,
    ProbeSampled,
    ResourcesSampled,
    Restarted,
    Ticked,
)
from workers.edge.failures import Failures
from workers.edge.fetches import Fetches
from workers.edge.resources import Announced
from workers.edge.shelf import Shelf
from workers.probe.legs import LegWindow, RoundTrip

CONTACT_EVERY_S = 60.0  # how coarsely the last contact is written down: flash wears, and policies count in hours
PROBES_PER_REPORT = 2
REPORT_EVERY_S = 10.0  # at least, also while alone: callers on the LAN are counted; what has not changed is not sent
_SERVING = (Phase.STARTING, Phase.READY)


@dataclass(slots=True)
class _Model:
    """One load of a model; `phase` is STARTING, READY or DRAINING."""

    incarnation: str
    want: ReplicaAssignment
    phase: Phase = Phase.STARTING
    ready_s: float = 0.0  # when it became READY


class Agent:
    """One node's state. `boot` tells its incarnations from other boots'; `disk_bytes` is for artifacts, 0: any."""

    def __init__(self, site: str, boot: str, disk_bytes: int = 0) -> None:
        self._site, self._boot = site, boot
        self._held = Assignment(revision=0)
        self._models: dict[str, _Model] = {}
        self._failures = Failures()
        self._refused: dict[Content, str] = {}  # nobody trusted vouches for it; asked again with each assignment
        self._fetches = Fetches()
        self._loads = 0
        self._shelf = Shelf(disk_bytes)
        self._attached = False
        self._offline_s, self._offline_since_s = 0.0, 0.0
        self._contact_saved_at_s = 0.0
        self._lapsed_s = 0.0  # how long it was alone when it attached, if a single writer lapsed by that
        self._leg: LegWindow | None = None
        self._probes, self._reported_at_s = 0, 0.0
        self._announced, self._usage_is_news = Announced(), False
        self._reported: tuple[int, tuple[ReplicaState, ...]] = (0, ())

    @property
    def held_revision(self) -> int:
        """0: no assignment yet."""
        return self._held.revision

    def step(self, event: Event, now_s: float) -> list[Action]:
        """Take in what happened; answers what to do. Never raises for an event that comes late, twice or never."""
        actions = self._take_in(event, now_s)
        actions += self._converge(now_s)
        return actions + self._report(event, now_s)

    def offline_s(self, now_s: float) -> float:
        """How long there has been no contact, over reboots as far as the disk knew; 0 while attached."""
        return 0.0 if self._attached else self._offline_s + max(0.0, now_s - self._offline_since_s)

    def _take_in(self, event: Event, now_s: float) -> list[Action]:
        match event:
            case Restarted():
                self._held = event.assignment or self._held
                self._offline_s, self._offline_since_s = event.offline_s, now_s
                self._contact_saved_at_s = now_s
                self._shelf.found(event.artifacts)
            case AssignmentReceived():
                return self._accept(event.assignment)
            case LinkOpened():
                return self._opened(event, now_s)
            case LinkLost():
                return self._lost(now_s)
            case ProbeSampled():
                self._sampled(event, now_s)
            case ResourcesSampled():
                self._usage_is_news = self._announced.take(event.usage, event.machine, now_s)
            case Ticked():
                return self._note_contact(now_s)
            case _:
                return self._work_ended(event, now_s)
        return []

    def _work_ended(self, event: Event, now_s: float) -> list[Action]:
        match event:
            case FetchProgressed():
                self._fetches.progressed(event.digest, event.fetched_bytes)
            case ArtifactVerified():
                self._fetches.succeeded(event.digest)
            case FetchFailed():
                self._fetches.failed(event.digest, event.reason, now_s)
                if event.disk_full:
                    self._shelf.spare_nothing()
            case ModelLoaded():
                return self._loaded(event.incarnation, now_s)
            case ModelLoadFailed():
                if model := self._take_out(event.incarnation, Phase.STARTING):
                    if event.again:
                        self._failures.ended(model.want.content, event.reason, 0.0, now_s)
                    else:
                        self._failures.refused(model.want.content, event.reason)
            case ModelEnded():
                model = self._models.pop(event.incarnation, None)
                if model and model.phase is not Phase.DRAINING:
                    served_s = now_s - model.ready_s if model.phase is Phase.READY else 0.0
                    self._failures.ended(model.want.content, event.reason, served_s, now_s)
            case ArtifactSpoilt():
                if model := self._take_out(event.incarnation, Phase.STARTING):
                    self._fetches.spoilt(model.want.content.artifact, event.reason, now_s)
            case LoadRefused():
                return self._refuse(event)
            case ModelDrained():
                if self._take_out(event.incarnation, Phase.DRAINING):
                    return [UnloadModel(event.incarnation)]
        return []

    def _loaded(self, incarnation: str, now_s: float) -> list[Action]:
        model = self._models.get(incarnation)
        if model is None:
            return [UnloadModel(incarnation)]  # nobody asked for it: it must not stay in memory
        if model.phase is Phase.STARTING:
            model.phase, model.ready_s = Phase.READY, now_s
        return []

    def _take_out(self, incarnation: str, phase: Phase) -> _Model | None:
        """None if the event came twice or late: the model is gone, or is further on."""
        model = self._models.get(incarnation)
        if model is None or model.phase is not phase:
            return None
        return self._models.pop(incarnation)

    def _accept(self, assignment: Assignment) -> list[Action]:
        """The same revision changes nothing; an older one is a message that was overtaken."""
        if assignment.revision <= self._held.revision:
            return []
        before, self._held = self._held, assignment.after(self._held)
        lapsed_s, self._lapsed_s = self._lapsed_s, 0.0
        # A changed assignment is a reason to try again what did not load, unless it is the very same replica.
        self._failures.keep({replica.content for replica in assignment.replicas})
        self._refused = {}
        self._note_descriptions(before)
        saved: list[Action] = [SaveAssignment(self._held)]
        if lapsed_s and self._attached:
            saved.append(SaveContact(0.0))
        return saved if before.trust == self._held.trust else saved + self._checks()

    def _note_descriptions(self, before: Assignment) -> None:
        """What is said of an artifact may come later than its bytes, or be said anew."""
        said = {artifact.digest: (artifact.manifest, artifact.signature) for artifact in _artifacts(before)}
        for artifact in _artifacts(self._held):
            if said.get(artifact.digest, ("", "")) != (artifact.manifest, artifact.signature):
                self._fetches.described_anew(artifact)

    def _checks(self) -> list[Action]:
        """Others are trusted now: what they do not vouch for must not go on serving."""
        latest = {replica.content: replica for replica in self._held.replicas}  # with the signature of now
        serving = [model for model in self._models.values() if model.phase in _SERVING]
        return [CheckTrust(latest.get(model.want.content, model.want), model.incarnation) for model in serving]

    def _refuse(self, event: LoadRefused) -> list[Action]:
        model = self._models.get(event.incarnation)
        if model is None or model.phase not in _SERVING:
            return []
        self._refused[model.want.content] = event.reason
        if model.phase is Phase.STARTING:
            del self._models[event.incarnation]
            return []
        model.phase = Phase.DRAINING
        return [DrainModel(event.incarnation)]

    def _opened(self, event: LinkOpened, now_s: float) -> list[Action]:
        alone_s = max(self.offline_s(now_s), self._lapsed_s)
        if any(each.single_writer and alone_s > each.valid_offline_s for each in self._held.replicas):
            self._lapsed_s = alone_s
        self._attached, self._probes, target = True, 0, f"front/{event.front}"
        if self._leg is None or self._leg.target != target:  # of the same front the samples are as good as before
            self._leg = LegWindow(f"site/{self._site}", target)
        self._leg.rest(event.rest_s)
        self._fetches.retry_now()
        self._refused = {}  # revocations are no longer old
        self._contact_saved_at_s = now_s
        return [SaveContact(self._lapsed_s)]

    def _lost(self, now_s: float) -> list[Action]:
        if not self._attached:
            return []
        self._attached, self._offline_s, self._offline_since_s = False, 0.0, now_s
        self._contact_saved_at_s = now_s
        return [SaveContact(self._lapsed_s)]

    def _note_contact(self, now_s: float) -> list[Action]:
        if now_s - self._contact_saved_at_s < CONTACT_EVERY_S:
            return []
        self._contact_saved_at_s = now_s
        return [SaveContact(max(self.offline_s(now_s), self._lapsed_s))]

    def _sampled(self, event: ProbeSampled, now_s: float) -> None:
        if self._leg:
            self._leg.add(event.sample, now_s)
            self._probes += isinstance(event.sample, RoundTrip)

    def _converge(self, now_s: float) -> list[Action]:
        wanted = [each for each in self._held.replicas if not each.draining and not self._expired(each, now_s)]
        self._shelf.need([m.want.content.artifact for m in self._models.values()], _artifacts(self._held))
        actions: list[Action] = []
        for want in wanted:
            actions += self._bring_up(want, now_s)
        for model in self._models.values():
            if model.phase is Phase.READY and not self._keeps(model, wanted, now_s):
                model.phase = Phase.DRAINING
                actions.append(DrainModel(model.incarnation))
        return actions + self._tidy(wanted)

    def _bring_up(self, want: ReplicaAssignment, now_s: float) -> list[Action]:
        if self._failures.waiting(want.content, now_s) or want.content in self._refused:
            return []
        fetch = [] if self._shelf.lacks_room(want.content.artifact.digest) else self._fetches.want(want, now_s)
        if model := self._live(want.content):
            return self._describe(model, want) + fetch
        if want.content.artifact.digest not in self._fetches.verified:
            return fetch
        self._loads += 1
        incarnation = f"{want.content.replica}.{self._loads}.{self._boot}"
        self._models[incarnation] = _Model(incarnation, want)
        return [LoadModel(want, incarnation, self.offline_s(now_s))]

    def _describe(self, model: _Model, want: ReplicaAssignment) -> list[Action]:
        if model.want == want or model.phase is not Phase.READY:
            return []
        model.want = want
        return [DescribeModel(want, model.incarnation)]

    def _live(self, content: Content) -> _Model | None:
        """The load of this content that runs or is about to."""
        for model in self._models.values():
            if model.want.content == content and model.phase is not Phase.DRAINING:
                return model
        return None

    def _keeps(self, model: _Model, wanted: list[ReplicaAssignment], now_s: float) -> bool:
        """Is it wanted itself, or does it stand in for a successor that is not ready?"""
        if any(each.content == model.want.content for each in wanted):
            return True
        if any(each.content == model.want.content and each.draining for each in self._held.replicas):
            return False
        if self._expired(model.want, now_s):
            return False
        successors = [each for each in wanted if each.model_key == model.want.model_key]
        return bool(successors) and not any(self._ready(each.content) for each in successors)

    def _ready(self, content: Content) -> bool:
        model = self._live(content)
        return model is not None and model.phase is Phase.READY

    def _expired(self, want: ReplicaAssignment, now_s: float) -> bool:
        lapsed_s = self._lapsed_s if want.single_writer else 0.0
        return max(self.offline_s(now_s), lapsed_s) > want.valid_offline_s

    def _tidy(self, wanted: list[ReplicaAssignment]) -> list[Action]:
        """Forget fetches that nobody needs; delete old artifacts, but only once the node has settled, or lacks room."""
        needed = {each.content.artifact.digest for each in wanted}
        needed |= {model.want.content.artifact.digest for model in self._models.values()}
        actions = self._fetches.forget(frozenset(needed))
        settled = all(self._ready(each.content) for each in wanted) and len(self._models) == len(wanted)
        kept = self._shelf.tidied(settled) if self._held.revision else None
        if kept is None:
            return actions
        self._fetches.verified &= kept
        return [*actions, PruneArtifacts(kept)]

    def _report(self, event: Event, now_s: float) -> list[Action]:
        seen = (self._held.revision, self._states(now_s))
        due = isinstance(event, LinkOpened | LinkLost) or self._probes >= PROBES_PER_REPORT
        due |= self._usage_is_news or now_s - self._reported_at_s >= REPORT_EVERY_S
        if seen == self._reported and not due:
            return []
        self._reported, self._probes, self._reported_at_s, self._usage_is_news = seen, 0, now_s, False
        leg = self._leg.estimate(now_s) if self._leg else None
        return [SendReport(Report(*seen, legs=(leg,) if leg else (), usage=self._announced.usage))]

    def _states(self, now_s: float) -> tuple[ReplicaState, ...]:
        """Every assigned replica, then every one that still runs though it is no longer assigned."""
        states = {each.content.replica: self._state(each, now_s) for each in self._held.replicas}
        for model in self._models.values():
            state = ReplicaState(model.want.content.replica, model.incarnation, model.phase)
            states.setdefault(state.replica, state)
        return tuple(states[replica] for replica in sorted(states))

    def _state(self, want: ReplicaAssignment, now_s: float) -> ReplicaState:
        replica = want.content.replica
        if reason := self._refused.get(want.content, ""):
            return ReplicaState(replica, "", Phase.FAILED, reason)
        if failure := self._failures.waiting(want.content, now_s):
            return ReplicaState(replica, "", Phase.FAILED, failure.reason, restarts=failure.restarts)
        if model := self._shown(want):
            last = self._failures.last(want.content)
            return ReplicaState(replica, model.incarnation, model.phase, restarts=last.restarts if last else 0)
        if want.draining:
            return ReplicaState(replica, "", Phase.STOPPED)
        if self._expired(want, now_s):
            reason = f"offline for longer than valid_offline_s {want.valid_offline_s}: "
            reason += "waits for a newer assignment" if self._attached else "restore the link to a front"
            return ReplicaState(replica, "", Phase.STOPPED, reason)
        fetch = self._fetches.state(want.content.artifact.digest)
        fetched_bytes, reason = (fetch.fetched_bytes, fetch.reason) if fetch else (0, "")
        reason = self._shelf.lacks_room(want.content.artifact.digest) or reason
        return ReplicaState(replica, "", Phase.FETCHING, reason, fetched_bytes, want.content.artifact.size_bytes)

    def _shown(self, want: ReplicaAssignment) -> _Model | None:
        """The model that stands for a replica: the ready one of an earlier content until its own is ready."""
        own = [each for each in self._models.values() if each.want.content.replica == want.content.replica]
        own.sort(key=lambda each: (each.phase is Phase.READY, each.want.content == want.content))
        return own[-1] if own else None


def _artifacts(assignment: Assignment) -> list[Artifact]:
    return [replica.content.artifact for replica in assignment.replicas if not replica.draining]
