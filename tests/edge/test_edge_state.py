import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.edge.assignment import Artifact, Assignment, Content, ReplicaAssignment
from workers.edge.errors import StateFolderUnusable
from workers.edge.state import StateFolder, running
from workers.edge.wire import assignment_from, assignment_to

WORDS = st.text(st.characters(codec="utf-8"), max_size=20)
COUNTS = st.integers(0, 2**63)
CONTENTS = st.builds(
    Content, WORDS, WORDS.filter(bool), WORDS, WORDS, st.builds(Artifact, digest=WORDS, size_bytes=COUNTS, format=WORDS)
)
REPLICAS = st.builds(ReplicaAssignment, CONTENTS, COUNTS, WORDS, COUNTS, st.booleans())
ASSIGNMENTS = st.builds(Assignment, st.integers(1, 2**63), st.lists(REPLICAS, max_size=4).map(tuple))

ONE = Assignment(
    7,
    (
        ReplicaAssignment(
            Content("r1", "plant", "digits", "v1", Artifact("sha256:" + "a" * 64, 9, "tflite")), 5, "d", 60, False
        ),
    ),
)


@given(ASSIGNMENTS)
def test_an_assignment_travels_unchanged(assignment: Assignment) -> None:
    assert assignment_from(assignment_to(assignment)) == assignment


def test_an_assignment_survives_its_process(tmp_path: Path) -> None:
    first = StateFolder(tmp_path)
    assert first.assignment() is None
    first.save_assignment(ONE)
    first.close()
    second = StateFolder(tmp_path)
    assert second.assignment() == ONE
    second.close()


@pytest.mark.parametrize("kept", [0, 1, 31, 32, 33, -1])
def test_a_half_written_assignment_is_ignored_with_a_warning(
    tmp_path: Path, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    folder = StateFolder(tmp_path)
    folder.save_assignment(ONE)
    path = tmp_path / "assignment.pb"
    path.write_bytes(path.read_bytes()[:kept])
    with caplog.at_level(logging.WARNING):
        assert folder.assignment() is None
    assert "half-written" in caplog.text
    folder.close()


def test_every_boot_has_a_higher_epoch(tmp_path: Path) -> None:
    epochs = []
    for _ in range(3):
        folder = StateFolder(tmp_path)
        epochs.append(folder.next_boot().epoch)
        folder.close()
    assert epochs == [epochs[0], epochs[0] + 1, epochs[0] + 2]
    assert epochs[0] > 0


def test_a_boot_names_the_ones_before_it(tmp_path: Path) -> None:
    boots = []
    for _ in range(12):
        folder = StateFolder(tmp_path)
        boots.append(folder.next_boot())
        folder.close()
    ids = [one.id for one in boots]
    assert len(set(ids)) == 12
    assert boots[0].before == ()
    assert boots[2].before == (ids[1], ids[0])
    assert boots[11].before == tuple(reversed(ids[3:11]))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"epoch": "x"}', '{"epoch": -4}', "\x00\xff", '{"epoch": 9e99}', '{"boots": 3}'],
)
def test_a_spoilt_counter_still_gives_a_higher_epoch(tmp_path: Path, text: str) -> None:
    folder = StateFolder(tmp_path)
    before = [folder.next_boot().epoch for _ in range(3)]
    (tmp_path / "boots.json").write_text(text)
    os.utime(tmp_path / "boots.json")
    after = folder.next_boot().epoch
    folder.close()
    assert after > before[0]
    assert after > 1_000_000_000_000  # the clock's milliseconds, not 1


def test_offline_time_is_what_was_counted_and_what_the_clock_says_since(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    assert folder.offline_s() == 0.0
    folder.save_contact(100.0)
    assert 100.0 <= folder.offline_s() < 101.0
    saved = json.loads((tmp_path / "contact.json").read_text())
    for moved_s, expected_s in ((-50.0, 150.0), (+10_000.0, 100.0)):  # a clock that went back counts as standing still
        (tmp_path / "contact.json").write_text(json.dumps({**saved, "wall_s": saved["wall_s"] + moved_s}))
        assert folder.offline_s() == pytest.approx(expected_s, abs=1.0)
    (tmp_path / "contact.json").write_text('{"offline_s": "x"')
    assert folder.offline_s() == 0.0
    folder.close()


def test_one_agent_per_folder(tmp_path: Path) -> None:
    assert not running(tmp_path)
    folder = StateFolder(tmp_path)
    assert running(tmp_path)
    with pytest.raises(StateFolderUnusable, match=f"process {os.getpid()}: stop it, or give"):
        StateFolder(tmp_path)
    folder.close()
    assert not running(tmp_path)
    StateFolder(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateFolderUnusable, match=r"file/state.*give a folder"):
        StateFolder(tmp_path / "file" / "state")
