"""An acknowledged commit outlives the power: a shim journals what a writer does, and crashes are made of that."""

import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.errors import StoreUnavailable
from orchestrator.model.stored import Key
from orchestrator.store import SqlStore, open_store
from tests.store.power_loss import Disk, Record, read_journal

pytestmark = pytest.mark.real

HERE = Path(__file__).parent
COMMITS = 400
CRASHES = 100


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.fail("no C compiler (cc): run `make tools`")
    library = tmp_path_factory.mktemp("shim") / "journal.so"
    source = HERE / "journal.c"
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", "-o", library, source], check=True)
    return library


def journal_of_a_writer(shim: Path, tmp_path: Path, synchronous: str) -> list[Record]:
    folder, journal = tmp_path / "written", tmp_path / "journal"
    folder.mkdir()
    watched = {"SKERRY_JOURNAL": str(journal), "SKERRY_JOURNAL_FOLDER": str(folder.resolve())}
    command = [sys.executable, HERE / "journaled_writer.py", folder.resolve(), str(COMMITS), synchronous]
    subprocess.run(command, env={**os.environ, **watched, "LD_PRELOAD": str(shim)}, check=True, timeout=60)
    return read_journal(journal)


@dataclass(frozen=True, slots=True)
class Crash:
    at: int
    acknowledged: int  # commits, before the power went
    folder: Path


def crashes(records: list[Record], tmp_path: Path, seed: int) -> list[Crash]:
    """At random records, between the first acknowledgement and the end for most."""
    rng = random.Random(seed)
    points = set(rng.sample(range(len(records)), CRASHES))
    disk, acknowledged, made = Disk(), 0, []
    for at, record in enumerate(records):
        if record.path == "acknowledged":
            acknowledged += record.op == "W"
        elif not record.path.endswith("-shm"):  # shared memory: SQLite makes it anew
            disk.step(record)
        if at in points:
            folder = tmp_path / f"crash-{at}"
            folder.mkdir()
            disk.crash_into(folder, rng)
            made.append(Crash(at, acknowledged, folder))
    return made


def commits_found(crash: Crash) -> int:
    """How many commits are there, each whole and none missing in between. Raises AssertionError, StoreUnavailable."""
    store = open_store(f"sqlite:///{crash.folder / 'store.db'}")
    try:
        return _commits_in(store)
    finally:
        store.close()


def _commits_in(store: SqlStore) -> int:
    changes = store.changes(0, limit=10 * COMMITS)
    objects, _ = store.list_objects("")
    last = {change.object.key: change.object for change in changes}
    assert objects == [last[key] for key in sorted(last)], "objects and their change log disagree"
    pairs = [change.object.spec["n"] for change in changes if change.object.key == Key("Site", "", "pair-a")]
    assert pairs == list(range(1, len(pairs) + 1)), "a commit is missing between others"
    assert {each.spec["n"] for each in objects if each.key.name.startswith("pair")} <= {len(pairs)}, "half a commit"
    assert len(changes) == 3 * len(pairs), "half a commit"
    latest = store.latest_decision()
    assert (latest.id if latest else "d0") == f"d{len(pairs) // 10 * 10}", "half a commit"
    return len(pairs)


def test_no_crash_loses_an_acknowledged_commit(shim: Path, tmp_path: Path) -> None:
    records = journal_of_a_writer(shim, tmp_path, "")
    assert sum(record.path == "acknowledged" and record.op == "W" for record in records) == COMMITS
    seen = {record.op for record in records}
    assert {"C", "W", "S", "U"} <= seen, f"the shim saw only {seen}: it is not in the way of SQLite's calls"
    tried = crashes(records, tmp_path, seed=20_261_123)
    for crash in tried:
        found = commits_found(crash)
        assert crash.acknowledged <= found <= crash.acknowledged + 1, f"record {crash.at}"
    assert sum(0 < crash.acknowledged < COMMITS for crash in tried) > CRASHES / 2


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_the_same_crashes_find_the_loss_when_syncs_are_left_out(shim: Path, tmp_path: Path, synchronous: str) -> None:
    """The proof that the test above can fail."""
    lost = 0
    for crash in crashes(journal_of_a_writer(shim, tmp_path, synchronous), tmp_path, seed=20_261_123):
        try:
            lost += commits_found(crash) < crash.acknowledged
        except (AssertionError, StoreUnavailable):
            lost += 1
    assert lost > CRASHES / 10
