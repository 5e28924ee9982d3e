"""The agent against a host that takes its time, and a network that repeats, reorders and drops."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from workers.artifacts.trust import Trust
from workers.edge.actions import (
    Action,
    CancelFetch,
    CheckTrust,
    DrainModel,
    FetchArtifact,
    LoadModel,
    PruneArtifacts,
    SaveAssignment,
    SendReport,
    UnloadModel,
)
from workers.edge.agent import Agent
from workers.edge.assignment import Artifact, Assignment, Content, Phase, ReplicaAssignment, Report
from workers.edge.events import (
    ArtifactSpoilt,
    ArtifactVerified,
    AssignmentReceived,
    Event,
    FetchFailed,
    LinkLost,
    LinkOpened,
    LoadRefused,
    ModelDrained,
    ModelEnded,
    ModelLoaded,
    ModelLoadFailed,
    Restarted,
    Ticked,
)

DIGESTS = [f"sha256:{number:064x}" for number in range(7)]  # more than are kept spare
BROKEN = DIGESTS[-1]  # fetched well, never loads
VALID_OFFLINE_S = 500


def described(digest: str) -> st.SearchStrategy[Artifact]:
    """The same bytes, of which something is said or not."""
    return st.builds(Artifact, st.just(digest), st.just(10), st.just("tflite"), st.sampled_from(["", "sha256:m"]))


TRUSTS = st.none() | st.builds(lambda gone: Trust(revoked_artifacts=gone), st.frozensets(st.sampled_from(DIGESTS[:2])))


@st.composite
def assignments(draw: st.DrawFn) -> tuple[ReplicaAssignment, ...]:
    names = draw(st.lists(st.sampled_from(["r1", "r2", "r3", "r4"]), max_size=3, unique=True))
    return tuple(
        ReplicaAssignment(
            Content(name, "default", draw(st.sampled_from(["a", "b"])), digest[-1], draw(described(digest))),
            memory_bytes=1,
            decision="d",
            valid_offline_s=VALID_OFFLINE_S,
            draining=draw(st.integers(0, 4)) == 0,
        )
        for name in names
        for digest in [draw(st.sampled_from(DIGESTS))]
    )


@dataclass
class Loaded:
    want: ReplicaAssignment
    drains: bool = False


class AgentMachine(RuleBasedStateMachine):
    """`disk` and `loaded` are the truth; the agent knows of it only by events."""

    def __init__(self) -> None:
        super().__init__()
        self.agent, self.boots = Agent("s", "boot0"), 0
        self.now_s = 0.0
        self.disk: set[str] = set()
        self.saved: Assignment | None = None
        self.sent: list[Assignment] = []
        self.fetches: list[str] = []
        self.loads: list[LoadModel] = []
        self.drains: list[str] = []
        self.checks: list[CheckTrust] = []
        self.refused: set[str] = set()
        self.loaded: dict[str, Loaded] = {}
        self.report: Report | None = None
        self.attached = False
        self.online_s = 0.0  # when the link was last there

    @initialize()
    def start(self) -> None:
        self.tell(Restarted(None, 0.0))

    def tell(self, event: Event) -> list[Action]:
        actions = self.agent.step(event, self.now_s)
        for action in actions:
            self.take(action)
        return actions

    def take(self, action: Action) -> None:
        match action:
            case SaveAssignment():
                assert self.saved is None or action.assignment.revision > self.saved.revision
                self.saved = action.assignment
            case FetchArtifact():
                assert action.artifact.digest not in self.fetches, "one fetch at a time"
                self.fetches.append(action.artifact.digest)
            case CancelFetch():
                self.fetches.remove(action.digest)
            case LoadModel():
                assert action.replica.content.artifact.digest in self.disk, "never an artifact that was not verified"
                live = [each.want.content for each in self.loaded.values() if not each.drains]
                live += [each.replica.content for each in self.loads]
                assert action.replica.content not in live, "never twice"
                self.loads.append(action)
            case CheckTrust():
                self.checks.append(action)
            case DrainModel():
                self.check_drain(action.incarnation)
                self.loaded[action.incarnation].drains = True
                self.drains.append(action.incarnation)
            case UnloadModel():
                assert self.loaded.pop(action.incarnation).drains
            case PruneArtifacts():
                used = {each.want.content.artifact.digest for each in self.loaded.values()}
                assert used <= action.keep, "what runs stays on disk"
                self.disk &= action.keep
            case SendReport():
                self.report = action.report

    def check_drain(self, incarnation: str) -> None:
        """A running model goes only when asked to, out of date, without a service, or for a ready successor."""
        going, assert_held = self.loaded[incarnation].want, self.saved.replicas if self.saved else ()
        same = [each for each in assert_held if each.content == going.content]
        wanted = [each for each in assert_held if each.model_key == going.model_key and not each.draining]
        ready = [each for name, each in self.loaded.items() if name != incarnation and not each.drains]
        assert (
            incarnation in self.refused
            or any(each.draining for each in same)
            or self.offline_s() > VALID_OFFLINE_S
            or not wanted
            or any(each.want.content == other.content for each in ready for other in wanted)
        )

    def offline_s(self) -> float:
        return 0.0 if self.attached else self.now_s - self.online_s

    def revoked(self, want: ReplicaAssignment) -> bool:
        trust = self.saved.trust if self.saved else None
        return trust is not None and want.content.artifact.digest in trust.revoked_artifacts

    @rule(replicas=assignments(), trust=TRUSTS)
    def decide(self, replicas: tuple[ReplicaAssignment, ...], trust: Trust | None) -> None:
        """The control plane makes an assignment; whether it arrives is another matter."""
        self.sent.append(Assignment(len(self.sent) + 1, replicas, trust))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Any that was ever sent: late, twice, out of order."""
        self.tell(AssignmentReceived(data.draw(st.sampled_from(self.sent))))

    @precondition(lambda self: self.saved)
    @rule()
    def repeat(self) -> None:
        assert self.saved
        assert self.tell(AssignmentReceived(self.saved)) == []

    @precondition(lambda self: self.fetches)
    @rule(data=st.data(), works=st.booleans())
    def end_fetch(self, data: st.DataObject, works: bool) -> None:
        digest = data.draw(st.sampled_from(self.fetches))
        self.fetches.remove(digest)
        if works:
            self.disk.add(digest)
            self.tell(ArtifactVerified(digest))
        else:
            self.tell(FetchFailed(digest, "network"))

    @precondition(lambda self: self.loads)
    @rule(data=st.data(), rotten=st.booleans())
    def end_load(self, data: st.DataObject, rotten: bool) -> None:
        load = data.draw(st.sampled_from(self.loads))
        self.loads.remove(load)
        digest = load.replica.content.artifact.digest
        if rotten or digest not in self.disk:
            self.disk.discard(digest)
            self.tell(ArtifactSpoilt(load.incarnation, "rotten"))
        elif self.revoked(load.replica):
            self.tell(LoadRefused(load.incarnation, "revoked"))
        elif digest == BROKEN:
            self.tell(ModelLoadFailed(load.incarnation, "broken"))
        else:
            self.loaded[load.incarnation] = Loaded(load.replica)
            self.tell(ModelLoaded(load.incarnation))

    @precondition(lambda self: self.loaded)
    @rule(data=st.data(), twice=st.booleans())
    def crash(self, data: st.DataObject, twice: bool) -> None:
        """A model's own process ends; its host has taken it out before the agent hears of it."""
        incarnation = data.draw(st.sampled_from(sorted(self.loaded)))
        if self.loaded.pop(incarnation).drains:
            self.drains.remove(incarnation)
        self.tell(ModelEnded(incarnation, "crash"))
        if twice:
            self.tell(ModelEnded(incarnation, "crash"))

    @precondition(lambda self: self.checks)
    @rule(twice=st.booleans())
    def end_check(self, twice: bool) -> None:
        check = self.checks.pop(0)
        if self.revoked(check.replica):
            self.refused.add(check.incarnation)
            for _ in range(1 + twice):
                self.tell(LoadRefused(check.incarnation, "revoked"))

    @precondition(lambda self: self.drains)
    @rule(twice=st.booleans())
    def end_drain(self, twice: bool) -> None:
        incarnation = self.drains.pop(0)
        self.tell(ModelDrained(incarnation))
        if twice:
            self.tell(ModelDrained(incarnation))

    @rule(open_it=st.booleans())
    def link(self, open_it: bool) -> None:
        if self.attached:
            self.online_s = self.now_s
        self.attached = open_it
        self.tell(LinkOpened("f") if open_it else LinkLost("cut"))

    @rule(passed_s=st.sampled_from([0.1, 1.0, 40.0, 300.0]))
    def wait(self, passed_s: float) -> None:
        self.now_s += passed_s
        self.tell(Ticked())

    @rule()
    def reboot(self) -> None:
        """The process is killed; the disk stays."""
        if self.attached:
            self.online_s = self.now_s
        self.attached = False
        self.boots += 1
        self.agent = Agent("s", f"boot{self.boots}")
        self.fetches, self.loads, self.drains, self.checks, self.loaded = [], [], [], [], {}
        self.tell(Restarted(self.saved, self.offline_s()))

    @invariant()
    def the_report_is_the_truth(self) -> None:
        """What is reported ready is loaded and takes calls."""
        for state in self.report.replicas if self.report else ():
            if state.phase is Phase.READY:
                assert state.incarnation in self.loaded
                assert not self.loaded[state.incarnation].drains

    def teardown(self) -> None:
        """From wherever it is: given the last assignment and a network, the node converges and then rests."""
        self.link(True)
        last = Assignment(len(self.sent) + 1, self.sent[-1].replicas if self.sent else (), Trust())
        self.tell(AssignmentReceived(last))
        for _ in range(60):
            self.wait(40.0)
            for digest in list(self.fetches):
                self.fetches.remove(digest)
                self.disk.add(digest)
                self.tell(ArtifactVerified(digest))
            while self.checks:
                self.end_check(False)
            for load in list(self.loads):
                self.settle(load)
            for incarnation in list(self.drains):
                self.drains.remove(incarnation)
                self.tell(ModelDrained(incarnation))
        self.check_settled(last)

    def settle(self, load: LoadModel) -> None:
        self.loads.remove(load)
        digest = load.replica.content.artifact.digest
        if digest not in self.disk:
            self.tell(ArtifactSpoilt(load.incarnation, "gone"))
        elif digest == BROKEN:
            self.tell(ModelLoadFailed(load.incarnation, "broken"))
        else:
            self.loaded[load.incarnation] = Loaded(load.replica)
            self.tell(ModelLoaded(load.incarnation))

    def check_settled(self, last: Assignment) -> None:
        assert not self.fetches
        assert not self.loads
        assert not self.drains
        assert self.agent.held_revision == last.revision
        good = {each.content for each in last.replicas if not each.draining and each.content.artifact.digest != BROKEN}
        held = [each.want.content for each in self.loaded.values()]
        assert len(held) == len(set(held))
        assert good <= set(held)
        unserved = {each.content.service for each in last.replicas if not each.draining} - {c.service for c in good}
        assert {content.service for content in set(held) - good} <= unserved, "only where no successor loads"
        assert self.tell(AssignmentReceived(last)) == []
        assert self.agent.step(Ticked(), self.now_s) == []


TestAgentMachine = AgentMachine.TestCase
TestAgentMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
