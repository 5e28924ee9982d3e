"""Replicas that failed: what is tried again, when, and what an operator reads meanwhile."""

import pytest
from test_edge_agent import DIGEST, OTHER, Story, ready, want

from workers.edge.actions import LoadModel
from workers.edge.assignment import Assignment, Content, Isolation, Phase
from workers.edge.events import (
    ArtifactVerified,
    AssignmentReceived,
    LinkOpened,
    ModelDrained,
    ModelEnded,
    ModelLoaded,
    ModelLoadFailed,
    Restarted,
    Ticked,
)
from workers.edge.failures import RETRY_MOST_S, STEADY_S, Failures


@pytest.fixture
def story() -> Story:
    story = Story()
    story.told(Restarted(None, 0.0), LinkOpened("f1"))
    return story


def test_waits_double_up_to_a_most_and_steady_service_forgives() -> None:
    failures, content, now_s = Failures(), want().content, 0.0
    waits = []
    for _ in range(11):
        failures.ended(content, "crash", 1.0, now_s)
        failure = failures.waiting(content, now_s)
        assert failure is not None
        waits.append(failure.retry_at_s - now_s)
        now_s = failure.retry_at_s
        assert failures.waiting(content, now_s) is None
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, RETRY_MOST_S, RETRY_MOST_S]
    failures.ended(content, "crash", STEADY_S, now_s)
    last = failures.last(content)
    assert last is not None
    assert (last.restarts, last.retry_at_s - now_s) == (1, 1.0)


def test_an_ended_process_is_failed_with_its_reason_and_then_started_again(story: Story) -> None:
    incarnation = ready(story)
    assert story.told(ModelEnded(incarnation, "ended by SIGSEGV; look at its log")) == []
    state = story.states["r1"]
    assert (state.phase, state.restarts, state.incarnation) == (Phase.FAILED, 1, "")
    assert state.reason == "ended by SIGSEGV; look at its log; it is started again 1 s later"
    assert story.told(Ticked()) == []
    story.now_s += 1.0
    assert story.told(Ticked()) == [LoadModel(want(), "r1.2.boot")]
    assert (story.phase("r1"), story.states["r1"].restarts) == (Phase.STARTING, 1)
    story.told(ModelLoaded("r1.2.boot"))
    assert (story.phase("r1"), story.states["r1"].restarts) == (Phase.READY, 1)
    story.told(ModelEnded("r1.2.boot", "again"))
    assert (story.states["r1"].restarts, story.states["r1"].reason) == (2, "again; end 2 in a row")


def test_a_load_that_crashed_is_tried_again_and_one_that_was_refused_is_not(story: Story) -> None:
    story.assigned(1, want("r1"), want("r2", OTHER, service="other"))
    story.told(ArtifactVerified(DIGEST), ArtifactVerified(OTHER))
    story.told(ModelLoadFailed("r1.1.boot", "hung", again=True), ModelLoadFailed("r2.2.boot", "no model"))
    assert [story.states[name].restarts for name in ("r1", "r2")] == [1, 0]
    story.now_s += 3600.0
    assert [action.incarnation for action in story.told(Ticked()) if isinstance(action, LoadModel)] == ["r1.3.boot"]
    assert story.phase("r2") is Phase.FAILED


def test_events_of_an_end_that_come_twice_or_late_change_nothing(story: Story) -> None:
    incarnation = ready(story)
    story.told(ModelEnded(incarnation, "crash"), ModelEnded(incarnation, "crash"), ModelEnded("nobody", "crash"))
    assert story.states["r1"].restarts == 1
    story.now_s += 1.0
    story.told(Ticked())
    story.told(ModelEnded("r1.2.boot", "crash before it was told that it is loaded"))
    assert story.told(ModelLoaded("r1.2.boot"))[0].incarnation == "r1.2.boot"  # type: ignore[union-attr]


def test_one_that_ends_while_it_drains_has_no_failure(story: Story) -> None:
    incarnation = ready(story)
    story.assigned(2)
    story.told(ModelEnded(incarnation, "crash"))
    assert story.told(ModelDrained(incarnation)) == []
    assert story.states == {}


def test_what_a_control_plane_leaves_untold_stays_as_it_runs(story: Story) -> None:
    """Its policy was deleted, say: no reason to load anything anew."""
    own = Content("r1", "default", "digits", "v1", want().content.artifact, Isolation.PROCESS)
    story.assigned(1, want(content=own))
    story.told(ArtifactVerified(DIGEST), ModelLoaded("r1.1.boot"))
    untold = Content("r1", "default", "digits", "v1", want().content.artifact, Isolation.UNTOLD)
    actions = story.told(AssignmentReceived(Assignment(2, (want(content=untold),))))
    assert not [action for action in actions if isinstance(action, LoadModel)]
    assert story.phase("r1") is Phase.READY


def test_another_isolation_is_loaded_beside_and_then_takes_over(story: Story) -> None:
    ready(story)
    own = Content("r1", "default", "digits", "v1", want().content.artifact, Isolation.PROCESS)
    actions = story.assigned(2, want(content=own))
    assert LoadModel(want(content=own), "r1.2.boot") in actions
    assert story.phase("r1") is Phase.READY, "the one in the agent serves until then"
