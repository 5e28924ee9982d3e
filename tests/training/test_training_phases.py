"""The table of a job's phases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.phases import JobPhase
from orchestrator.training.phases import TRANSITIONS, InvalidTransition, JobEvent, transition


@given(st.lists(st.sampled_from(JobEvent)))
def test_any_story_stays_in_the_table_and_nothing_follows_an_end(story: list[JobEvent]) -> None:
    phase = JobPhase.PENDING
    for index, event in enumerate(story):
        if (phase, event) in TRANSITIONS:
            assert not phase.ended
            phase = transition(phase, event, story[:index])
        else:
            with pytest.raises(InvalidTransition, match="its story so far"):
                transition(phase, event, story[:index])


def test_every_phase_is_reached_and_every_phase_that_is_no_end_can_end() -> None:
    assert {JobPhase.PENDING, *TRANSITIONS.values()} == set(JobPhase)
    for phase in JobPhase:
        ends = [to for (at, _), to in TRANSITIONS.items() if at is phase and to.ended]
        assert bool(ends) != phase.ended


def test_the_error_tells_the_story() -> None:
    with pytest.raises(InvalidTransition) as raised:
        transition(JobPhase.SUCCEEDED, JobEvent.TRAINED, [JobEvent.ADMITTED, JobEvent.PASSED])
    told = "job is succeeded and cannot be trained; its story so far: admitted -> passed"
    assert str(raised.value) == told
