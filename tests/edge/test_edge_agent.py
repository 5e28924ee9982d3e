"""The agent's step: events in, actions out, nothing else anywhere."""

from dataclasses import replace

import pytest

from workers.edge.actions import (
    Action,
    CancelFetch,
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
from workers.edge.agent import CONTACT_EVERY_S, Agent
from workers.edge.assignment import Artifact, Assignment, Content, Phase, ReplicaAssignment, ReplicaState
from workers.edge.events import (
    ArtifactSpoilt,
    ArtifactVerified,
    AssignmentReceived,
    Event,
    FetchFailed,
    FetchProgressed,
    LinkLost,
    LinkOpened,
    ModelDrained,
    ModelLoaded,
    ModelLoadFailed,
    ProbeSampled,
    Restarted,
    Ticked,
)
from workers.probe.legs import RoundTrip

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def want(
    name: str = "r1", digest: str = DIGEST, version: str = "v1", service: str = "digits", **fields: object
) -> ReplicaAssignment:
    content = Content(name, "default", service, version, Artifact(digest, 100, "tflite"))
    replica = ReplicaAssignment(content, 1000, "d1", valid_offline_s=600, draining=False)
    return replace(replica, **fields)


class Story:
    """An agent, a clock, and the report that was sent last."""

    def __init__(self) -> None:
        self.agent = Agent("s1", "boot")
        self.now_s = 1000.0
        self.states: dict[str, ReplicaState] = {}

    def told(self, *events: Event) -> list[Action]:
        """The actions but for reports, which are kept in `states`."""
        actions = [action for event in events for action in self.agent.step(event, self.now_s)]
        for action in actions:
            if isinstance(action, SendReport):
                self.states = {state.replica: state for state in action.report.replicas}
        return [action for action in actions if not isinstance(action, SendReport)]

    def assigned(self, revision: int, *replicas: ReplicaAssignment) -> list[Action]:
        return self.told(AssignmentReceived(Assignment(revision, replicas)))

    def phase(self, replica: str) -> Phase | None:
        return self.states[replica].phase if replica in self.states else None


@pytest.fixture
def story() -> Story:
    story = Story()
    story.told(Restarted(None, 0.0), LinkOpened("f1"))
    return story


def ready(story: Story) -> str:
    """`r1` assigned at revision 1 and ready; its incarnation."""
    story.assigned(1, want())
    story.told(ArtifactVerified(DIGEST), ModelLoaded("r1.1.boot"))
    return "r1.1.boot"


def test_from_assignment_to_ready(story: Story) -> None:
    assignment = Assignment(1, (want(),))
    assert story.told(AssignmentReceived(assignment)) == [
        SaveAssignment(assignment),
        FetchArtifact(want().content.artifact),
    ]
    assert story.told(FetchProgressed(DIGEST, 40)) == []
    assert story.states["r1"] == ReplicaState("r1", "", Phase.FETCHING, "", 40, 100)
    assert story.told(ArtifactVerified(DIGEST)) == [LoadModel(want(), "r1.1.boot")]
    assert story.states["r1"] == ReplicaState("r1", "r1.1.boot", Phase.STARTING)
    assert story.told(ModelLoaded("r1.1.boot")) == [PruneArtifacts(frozenset({DIGEST}))]
    assert story.states["r1"] == ReplicaState("r1", "r1.1.boot", Phase.READY)


def test_an_unchanged_assignment_changes_nothing(story: Story) -> None:
    ready(story)
    assert story.agent.step(AssignmentReceived(Assignment(1, (want(),))), story.now_s) == []
    assert story.agent.step(AssignmentReceived(Assignment(1, ())), story.now_s) == []
    assert story.agent.step(AssignmentReceived(Assignment(0, ())), story.now_s) == []


def test_the_same_replicas_under_a_new_revision_are_not_loaded_again(story: Story) -> None:
    incarnation = ready(story)
    changed = want(decision="d2")
    assert story.assigned(2, changed) == [
        SaveAssignment(Assignment(2, (changed,))),
        DescribeModel(changed, incarnation),
    ]


def test_two_replicas_of_one_artifact_are_fetched_once(story: Story) -> None:
    actions = story.assigned(1, want("r1"), want("r2", service="other"))
    assert [each for each in actions if isinstance(each, FetchArtifact)] == [FetchArtifact(want().content.artifact)]
    assert story.told(ArtifactVerified(DIGEST)) == [
        LoadModel(want("r1"), "r1.1.boot"),
        LoadModel(want("r2", service="other"), "r2.2.boot"),
    ]


def test_a_failed_fetch_waits_longer_each_time_and_says_why(story: Story) -> None:
    story.assigned(1, want())
    waits = []
    for _ in range(9):
        assert story.told(FetchFailed(DIGEST, "no route")) == []
        start_s = story.now_s
        while FetchArtifact(want().content.artifact) not in story.told(Ticked()):
            story.now_s += 0.25
        waits.append(story.now_s - start_s)
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert story.states["r1"].reason == "no route"


def test_a_link_that_opens_ends_the_wait(story: Story) -> None:
    story.assigned(1, want())
    story.told(FetchFailed(DIGEST, "cut off"), LinkLost("cut off"))
    assert FetchArtifact(want().content.artifact) in story.told(LinkOpened("f2"))


def test_a_fetch_that_nobody_needs_any_more_is_cancelled(story: Story) -> None:
    story.assigned(1, want())
    assert CancelFetch(DIGEST) in story.assigned(2)


def test_a_spoilt_artifact_is_fetched_again_and_not_loaded(story: Story) -> None:
    story.assigned(1, want())
    story.told(ArtifactVerified(DIGEST))
    assert story.told(ArtifactSpoilt("r1.1.boot", "rotten")) == []
    assert story.states["r1"] == ReplicaState("r1", "", Phase.FETCHING, "rotten", 0, 100)
    story.now_s += 1
    assert story.told(Ticked()) == [FetchArtifact(want().content.artifact)]


def test_a_model_that_does_not_load_is_failed_and_not_tried_again(story: Story) -> None:
    story.assigned(1, want())
    story.told(ArtifactVerified(DIGEST))
    assert story.told(ModelLoadFailed("r1.1.boot", "not a model: push it again")) == []
    assert story.states["r1"] == ReplicaState("r1", "", Phase.FAILED, "not a model: push it again")
    story.now_s += 1000
    assert story.told(LinkLost("x"), LinkOpened("f1"), Ticked()) == [SaveContact(0.0), SaveContact(0.0)]


def test_a_successor_takes_over_only_once_it_is_ready(story: Story) -> None:
    old, successor = ready(story), want("r2", OTHER, "v2")
    assert DrainModel(old) not in story.assigned(2, successor)
    assert story.phase("r1") is Phase.READY
    assert story.told(ArtifactVerified(OTHER)) == [LoadModel(successor, "r2.2.boot")]
    assert story.told(ModelLoaded("r2.2.boot")) == [DrainModel(old)]
    assert (story.phase("r1"), story.phase("r2")) == (Phase.DRAINING, Phase.READY)
    assert story.told(ModelDrained(old)) == [UnloadModel(old), PruneArtifacts(frozenset({DIGEST, OTHER}))]
    assert story.phase("r1") is None


def test_a_successor_that_does_not_load_leaves_the_running_one(story: Story) -> None:
    ready(story)
    story.assigned(2, want("r2", OTHER, "v2"))
    story.told(ArtifactVerified(OTHER))
    assert story.told(ModelLoadFailed("r2.2.boot", "broken")) == []
    assert (story.phase("r1"), story.phase("r2")) == (Phase.READY, Phase.FAILED)


def test_new_content_under_the_same_id_is_loaded_beside_the_old(story: Story) -> None:
    old = ready(story)
    changed = want("r1", OTHER, "v2")
    story.assigned(2, changed)
    assert story.states["r1"] == ReplicaState("r1", old, Phase.READY)
    assert story.told(ArtifactVerified(OTHER)) == [LoadModel(changed, "r1.2.boot")]
    assert story.told(ModelLoaded("r1.2.boot")) == [DrainModel(old)]
    assert story.states["r1"] == ReplicaState("r1", "r1.2.boot", Phase.READY)


def test_a_service_that_is_no_longer_assigned_is_drained(story: Story) -> None:
    old = ready(story)
    assert DrainModel(old) in story.assigned(2)
    assert UnloadModel(old) in story.told(ModelDrained(old))
    assert story.states == {}


def test_draining_ends_in_stopped_until_it_is_removed(story: Story) -> None:
    old = ready(story)
    assert DrainModel(old) in story.assigned(2, want(draining=True))
    assert story.phase("r1") is Phase.DRAINING
    assert UnloadModel(old) in story.told(ModelDrained(old))
    assert story.phase("r1") is Phase.STOPPED
    assert story.told(ModelDrained(old)) == []  # told twice


def test_a_draining_replica_is_not_brought_up_after_a_reboot() -> None:
    story = Story()
    assert story.told(Restarted(Assignment(3, (want(draining=True),)), 5.0)) == [PruneArtifacts(frozenset())]
    assert story.phase("r1") is Phase.STOPPED


def test_a_reboot_offline_starts_from_the_held_assignment() -> None:
    story = Story()
    assert story.told(Restarted(Assignment(3, (want(),)), 599.0)) == [FetchArtifact(want().content.artifact)]
    story.told(ArtifactVerified(DIGEST), ModelLoaded("r1.1.boot"))
    assert story.phase("r1") is Phase.READY
    assert story.agent.held_revision == 3
    assert story.agent.step(AssignmentReceived(Assignment(3, ())), story.now_s) == []


def test_offline_time_counts_over_a_reboot_and_a_link_ends_it() -> None:
    story = Story()
    story.told(Restarted(Assignment(3, (want(),)), 500.0))
    story.told(ArtifactVerified(DIGEST), ModelLoaded("r1.1.boot"))
    story.now_s += 100
    assert DrainModel("r1.1.boot") not in story.told(Ticked())
    story.now_s += 1
    assert DrainModel("r1.1.boot") in story.told(Ticked())
    story.told(ModelDrained("r1.1.boot"))
    assert story.phase("r1") is Phase.STOPPED
    assert "valid_offline_s 600" in story.states["r1"].reason
    assert story.told(LinkOpened("f1")) == [SaveContact(0.0), LoadModel(want(), "r1.2.boot")]


def test_the_last_contact_is_written_down_coarsely(story: Story) -> None:
    saved = []
    for _ in range(200):
        story.now_s += 1
        saved += story.told(Ticked())
    assert saved == [SaveContact(0.0)] * 3
    story.told(LinkLost("cut"))
    story.now_s += CONTACT_EVERY_S
    assert story.told(Ticked()) == [SaveContact(CONTACT_EVERY_S)]


def test_a_load_that_nobody_asked_for_does_not_stay_in_memory(story: Story) -> None:
    assert story.told(ModelLoaded("r9.9.boot")) == [UnloadModel("r9.9.boot")]


def test_a_report_goes_out_on_every_change_and_every_second_probe(story: Story) -> None:
    def reports(event: Event) -> int:
        return sum(isinstance(action, SendReport) for action in story.agent.step(event, story.now_s))

    assert reports(Ticked()) == 0
    sample = ProbeSampled(RoundTrip(5.0, "test"))
    assert [reports(sample) for _ in range(6)] == [0, 1, 0, 1, 0, 1]
    assert reports(AssignmentReceived(Assignment(1, ()))) == 1
    assert reports(LinkLost("cut")) == 1


def test_legs_are_of_the_front_that_is_attached(story: Story) -> None:
    story.told(ProbeSampled(RoundTrip(5.0, "test")))
    (report,) = [each for each in story.agent.step(LinkLost("cut"), story.now_s) if isinstance(each, SendReport)]
    assert [(leg.source, leg.target, leg.rtt_p50_ms) for leg in report.report.legs] == [("site/s1", "front/f1", 5.0)]
    (report,) = [each for each in story.agent.step(LinkOpened("f2"), story.now_s) if isinstance(each, SendReport)]
    assert report.report.legs == ()


def test_artifacts_are_kept_for_a_while_after_their_use(story: Story) -> None:
    kept = []
    for number in range(6):
        digest = f"sha256:{number:064x}"
        incarnation = f"r{number}.{number + 1}.boot"
        story.assigned(number + 1, want(f"r{number}", digest, f"v{number}"))
        story.told(ArtifactVerified(digest), ModelLoaded(incarnation))
        actions = story.told(ModelDrained(f"r{number - 1}.{number}.boot")) if number else []
        kept += [{int(digest[7:], 16) for digest in each.keep} for each in actions if isinstance(each, PruneArtifacts)]
    assert kept[-1] == {2, 3, 4, 5}
    deleted = want("r9", f"sha256:{0:064x}", "v9")
    assert FetchArtifact(deleted.content.artifact) in story.assigned(9, deleted)


def test_events_that_come_twice_or_late_change_nothing(story: Story) -> None:
    story.assigned(1, want())
    story.told(FetchFailed(DIGEST, "cut off"), FetchFailed(DIGEST, "cut off"))
    story.now_s += 0.5
    assert story.told(Ticked()) == [FetchArtifact(want().content.artifact)]  # not 1 s: it failed once
    story.told(ArtifactVerified(DIGEST), ModelLoaded("r1.1.boot"))
    late = [ModelLoaded("r1.1.boot"), ModelLoadFailed("r1.1.boot", "late"), ArtifactSpoilt("r1.1.boot", "late")]
    late += [
        ModelDrained("r1.1.boot"),
        ArtifactVerified(DIGEST),
        FetchFailed(DIGEST, "late"),
        FetchProgressed(OTHER, 1),
    ]
    assert [story.told(event) for event in late] == [[]] * len(late)
    assert story.phase("r1") is Phase.READY


def test_a_predecessor_does_not_outlive_its_own_policy(story: Story) -> None:
    old = ready(story)
    story.assigned(2, want("r2", OTHER, "v2", valid_offline_s=100_000))
    story.told(LinkLost("cut"))
    story.now_s += 601
    assert DrainModel(old) in story.told(Ticked())


def test_a_single_writer_that_was_alone_for_too_long_serves_only_by_a_newer_assignment(story: Story) -> None:
    writer = want(single_writer=True, valid_offline_s=60)
    story.assigned(1, writer)
    story.told(ArtifactVerified(DIGEST), ModelLoaded("r1.1.boot"), LinkLost("cut"))
    story.now_s += 61
    assert DrainModel("r1.1.boot") in story.told(Ticked())
    story.told(ModelDrained("r1.1.boot"))
    assert SaveContact(61.0) in story.told(LinkOpened("f1"))  # a reboot must not forget it
    assert story.assigned(1, writer) == []
    assert story.states["r1"].phase is Phase.STOPPED
    assert "waits for a newer assignment" in story.states["r1"].reason
    assert story.assigned(2, writer) == [
        SaveAssignment(Assignment(2, (writer,))),
        SaveContact(0.0),
        LoadModel(writer, "r1.2.boot"),
    ]


def test_any_other_replica_serves_again_at_once(story: Story) -> None:
    story.assigned(1, want(valid_offline_s=60))
    story.told(ArtifactVerified(DIGEST), ModelLoaded("r1.1.boot"), LinkLost("cut"))
    story.now_s += 61
    story.told(Ticked(), ModelDrained("r1.1.boot"))
    assert LoadModel(want(valid_offline_s=60), "r1.2.boot") in story.told(LinkOpened("f1"))
