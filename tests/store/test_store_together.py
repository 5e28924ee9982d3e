"""Many at once: watchers miss nothing, the last place is given once, and there is one leader."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from orchestrator.errors import ClaimRefused, EpochStale, RevisionStale
from orchestrator.model.claims import Claim, JobHold
from orchestrator.model.ids import JobRef, ReplicaId, SiteName
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.stored import Batch, Key, Owner, Put
from orchestrator.store import SqlStore, open_store
from orchestrator.store.engines import open_engine, parse_url
from orchestrator.store.objects import write_objects
from orchestrator.store.writing import writing

pytestmark = pytest.mark.real

WRITERS = 4
WRITES = 30


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    with closing(open_store(store_url)) as opened:
        yield opened


def test_a_watcher_sees_every_change_in_order(store: SqlStore, store_url: str) -> None:
    """A lower sequence that becomes visible after a higher one would be skipped by whoever resumes from the higher."""
    done = threading.Event()

    def write(name: int) -> None:
        with closing(open_store(store_url)) as own:
            for n in range(WRITES):
                own.commit(Batch(writes=(Put(Key("Site", "", f"s{name}"), Owner.COMMAND, None, {"n": n}),)))

    def watch() -> list[int]:
        seen: list[int] = []
        while True:
            ended = done.is_set()
            page = store.changes(seen[-1] if seen else 0)
            seen += [change.sequence for change in page]
            if ended and not page:
                return seen

    with ThreadPoolExecutor(WRITERS + 1) as threads:
        watching = threads.submit(watch)
        try:
            list(threads.map(write, range(WRITERS)))
        finally:
            done.set()
        seen = watching.result(timeout=30)
    assert seen == [change.sequence for change in store.changes(0)]
    assert len(seen) == WRITERS * WRITES


def test_a_second_writer_gets_no_sequence_before_the_first_has_committed(store: SqlStore, store_url: str) -> None:
    engine = open_engine(parse_url(store_url), 5)
    second_key = Key("Site", "", "second")
    with ThreadPoolExecutor(1) as threads:
        with writing(engine, lambda: 0.0) as first:
            [written] = write_objects(first, [Put(Key("Site", "", "first"), Owner.COMMAND, 0, {})])
            second = threads.submit(store.commit, Batch(writes=(Put(second_key, Owner.COMMAND, 0, {}),)))
            with pytest.raises(TimeoutError):
                second.result(timeout=0.2)
            assert store.changes(0) == []
        assert second.result(timeout=10)[0].revision > written.revision
    engine.dispose()


def test_counting_together_loses_no_update(store: SqlStore) -> None:
    key = Key("Site", "", "counter")
    store.commit(Batch(writes=(Put(key, Owner.COMMAND, 0, {"n": 0}),)))

    def count(_: int) -> None:
        for _ in range(10):
            while True:
                found = store.get(key)
                more = {"n": int(str(found.spec["n"])) + 1}
                try:
                    store.commit(Batch(writes=(Put(key, Owner.COMMAND, found.revision, more),)))
                    break
                except RevisionStale:
                    continue

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(count, range(WRITERS)))
    assert store.get(key).spec == {"n": 10 * WRITERS}


def test_the_last_places_of_a_site_are_given_once(store: SqlStore) -> None:
    quay = SiteName("quay")

    def take(number: int) -> bool:
        hold, need = JobHold(JobRef("plant", str(number))), Resources(3, 1)
        claim = Claim(ReplicaId(f"r{number}"), quay, None, need, ClaimPhase.RESERVED, hold, None, 1, 0.0)
        try:
            store.commit(Batch(claims=(claim,), capacities={quay: Resources(10, 100)}))
        except ClaimRefused:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(take, range(24)))
    assert sum(taken) == len(store.claims()) == 3


def test_one_of_many_becomes_leader(store: SqlStore) -> None:
    def lead(holder: int) -> int | None:
        try:
            return store.acquire_lease("leader", str(holder), 600).epoch
        except EpochStale:
            return None

    with ThreadPoolExecutor(8) as threads:
        epochs = [epoch for epoch in threads.map(lead, range(24)) if epoch is not None]
    assert epochs == [1]
