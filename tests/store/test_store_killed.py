"""`kill -9` loses nothing acknowledged: of writers at random moments, and of PostgreSQL's server."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.model.stored import Change, Key
from orchestrator.store import SqlStore, open_store
from tests.postgres import PostgresServer, make_server
from tests.store_urls import sqlite_url

pytestmark = pytest.mark.real

ROUNDS = 15


@dataclass(slots=True)
class Round:
    """What two writers acknowledged until both were gone."""

    acknowledged: dict[int, tuple[str, int]] = field(default_factory=dict)  # revision: (key's name, n)


class Writers:
    def __init__(self) -> None:
        command = [sys.executable, Path(__file__).with_name("killed_writers.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, url: str, names: tuple[str, str], at_ack: dict[int, Callable[[int, int], None]]) -> Round:
        """`at_ack[n]` is called with both process ids when the n-th acknowledgement was read."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{url} {' '.join(names)}\n")
        self._process.stdin.flush()
        words = self._process.stdout.readline().split()
        first, second = int(words[1]), int(words[2])
        result = Round()
        for count in range(100_000):
            if act := at_ack.get(count):
                act(first, second)
            words = self._process.stdout.readline().split()
            if words == ["ended"]:
                return result
            _, _, key, n, revision = words
            result.acknowledged[int(revision)] = (key, int(n))
        raise AssertionError("the writers were not killed")

    def close(self) -> None:
        self._process.communicate(timeout=70)  # the end of its input ends it


@pytest.fixture
def writers() -> Iterator[Writers]:
    forking = Writers()
    yield forking
    forking.close()


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def all_changes(store: SqlStore, after: int) -> list[Change]:
    found: list[Change] = []
    while page := store.changes(found[-1].sequence if found else after):
        found += page
    return found


def check(url: str, after: int, names: tuple[str, str], result: Round) -> int:
    """Everything acknowledged is there, whole, and at most one more commit of each writer. Answers the sequence."""
    store = open_store(url)
    try:
        changes = all_changes(store, after)
        _, sequence = store.list_objects("")
    finally:
        store.close()
    written = {change.sequence: (change.object.key.name, change.object.spec["n"]) for change in changes}
    assert result.acknowledged.items() <= written.items()
    shared = [change.object.spec["n"] for change in changes if change.object.key == Key("Zone", "", "shared")]
    assert shared == list(range(shared[0], shared[0] + len(shared))) if shared else True, "an update was lost"
    for name in names:
        own, twin = (
            [change.object for change in changes if change.object.key.name == each] for each in (name, f"{name}-twin")
        )
        assert [each.spec["n"] for each in own] == [each.spec["n"] for each in twin], "half a commit"
    commits = [each for each, _ in written.values() if not each.endswith("-twin")]
    assert len(commits) - len(result.acknowledged) <= len(names), "more than what was under way"
    return sequence


def kill_many(writers: Writers, url: str, rng: random.Random) -> int:
    """Rounds on one database; answers how many commits were acknowledged."""
    sequence = total = 0
    for number in range(ROUNDS):
        names = (f"a{number}", f"b{number}")
        first, later = rng.randrange(0, 12), rng.randrange(1, 12)
        moment_s = rng.uniform(0, 0.004)  # anywhere in the next commit

        def one(pid: int, _: int, moment_s: float = moment_s) -> None:
            time.sleep(moment_s)
            kill(pid)

        def other(_: int, pid: int, moment_s: float = moment_s) -> None:
            time.sleep(moment_s)
            kill(pid)

        result = writers.run(url, names, {first: one, first + later: other})
        sequence = check(url, sequence, names, result)
        total += len(result.acknowledged)
    return total


def test_killed_writers_lose_nothing_on_sqlite(writers: Writers, tmp_path: Path) -> None:
    assert kill_many(writers, sqlite_url(tmp_path), random.Random(1)) > 5 * ROUNDS


def test_killed_writers_lose_nothing_on_postgresql(writers: Writers, postgres_url: str) -> None:
    assert kill_many(writers, postgres_url, random.Random(2)) > 5 * ROUNDS


def test_a_first_open_killed_at_any_moment_leaves_a_database_that_opens(writers: Writers, tmp_path: Path) -> None:
    rng = random.Random(3)
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        moment_s = rng.uniform(0, 0.1)

        def both(first: int, second: int, moment_s: float = moment_s) -> None:
            time.sleep(moment_s)
            kill(first, second)

        result = writers.run(sqlite_url(folder), ("a", "b"), {0: both})
        check(sqlite_url(folder), 0, ("a", "b"), result)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """Not the session's: this one is crashed."""
    server = make_server()
    try:
        server.create()
        server.start()
        yield server
        server.crash()
    finally:
        shutil.rmtree(server.folder, ignore_errors=True)


def test_a_crashed_postgresql_loses_nothing_and_an_open_store_goes_on(
    writers: Writers, own_server: PostgresServer
) -> None:
    name = own_server.new_database()
    # A server may be set to acknowledge early: the store must not let it.
    own_server.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    url, sequence, rng = own_server.url(name), 0, random.Random(4)
    watching = open_store(url)
    for number in range(3):
        names = (f"a{number}", f"b{number}")
        result = writers.run(url, names, {rng.randrange(5, 60): lambda *_: own_server.crash()})
        own_server.start()
        assert len(all_changes(watching, sequence)) >= len(result.acknowledged)  # its connections were cut
        sequence = check(url, sequence, names, result)
    watching.close()
