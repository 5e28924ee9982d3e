"""Any history of writes, watches and compactions, compared with a model that fits on a page."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from orchestrator.errors import Compacted, NotFound, OwnerConflict, RevisionStale
from orchestrator.model.stored import Batch, Change, ChangeType, Delete, Key, Owner, Put, StoredObject
from orchestrator.store import SqlStore, open_store
from tests.postgres import PostgresServer
from tests.store_urls import sqlite_url

KEYS = [Key(kind, namespace, name) for kind in ("Site", "Zone") for namespace in ("", "plant") for name in "ab"]
keys = st.sampled_from(KEYS)
owners = st.sampled_from([Owner.COMMAND, Owner.COMMAND, Owner.COMMAND, Owner.OPERATOR])
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
parts = st.none() | st.dictionaries(st.sampled_from("abc"), st.integers(0, 1), max_size=2)
specs = parts | st.dictionaries(st.text(max_size=3), st.recursive(scalars, st.lists, max_leaves=4), max_size=2)
expected = st.sampled_from(["any", "any", "right", "right", "none", "old"])


def text(*values: object) -> str:
    """JSON tells 1 from true and from 1.0, and does not tell {"a", "b"} from {"b", "a"}."""
    return json.dumps(values, sort_keys=True)


class History(RuleBasedStateMachine):
    """`objects` and `log` are what the store should hold; `watched` is what one watcher has seen of it so far."""

    def open_empty(self) -> SqlStore:
        raise NotImplementedError

    @initialize()
    def start(self) -> None:
        self.store = self.open_empty()
        self.objects: dict[Key, StoredObject] = {}
        self.log: list[Change] = []
        self.floor = 0
        self.watched: dict[Key, StoredObject] = {}
        self.resume_at = 0

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    def revision_for(self, key: Key, kind: str) -> int | None:
        found = self.objects[key].revision if key in self.objects else 0
        return {"any": None, "right": found, "none": 0, "old": max(found - 1, 1)}[kind]

    @rule(key=keys, owner=owners, kind=expected, spec=specs, status=parts)
    def put(self, key: Key, owner: Owner, kind: str, spec: dict | None, status: dict | None) -> None:
        write = Put(key, owner, self.revision_for(key, kind), spec, status)
        before = self.objects.get(key)
        if before is not None and before.owner != owner:
            self.refused(write, OwnerConflict)
        elif (before is None and spec is None) or not self.expects(write, before):
            self.refused(write, RevisionStale)
        else:
            (written,) = self.store.commit(Batch(writes=(write,)))
            self.take(write, before, written)

    def expects(self, write: Put | Delete, before: StoredObject | None) -> bool:
        return write.expected_revision in (None, before.revision if before else 0)

    def take(self, put: Put, before: StoredObject | None, written: StoredObject) -> None:
        kept_spec, kept_status = (before.spec, before.status) if before else ({}, {})
        spec = kept_spec if put.spec is None else put.spec
        status = kept_status if put.status is None else put.status
        if before is not None and text(kept_spec, kept_status) == text(spec, status):
            assert written == before
            return
        generation = 1 if before is None else before.generation + (text(spec) != text(kept_spec))
        assert (written.spec, written.status, written.generation) == (spec, status, generation)
        assert written.revision > max((change.sequence for change in self.log), default=self.floor)
        assert before is None or (before.uid, before.created_wall_s) == (written.uid, written.created_wall_s)
        self.objects[put.key] = written
        self.log.append(Change(written.revision, ChangeType.PUT, written))

    @rule(key=keys, owner=owners, kind=expected)
    def delete(self, key: Key, owner: Owner, kind: str) -> None:
        write = Delete(key, owner, self.revision_for(key, kind))
        before = self.objects.get(key)
        if before is None:
            self.refused(write, NotFound)
        elif before.owner != owner:
            self.refused(write, OwnerConflict)
        elif not self.expects(write, before):
            self.refused(write, RevisionStale)
        else:
            assert self.store.commit(Batch(writes=(write,))) == [before]
            del self.objects[key]
            self.log.append(replace(self.store.changes(self.last())[-1], type=ChangeType.DELETE, object=before))

    def last(self) -> int:
        return self.log[-1].sequence if self.log else self.floor

    def refused(self, write: Put | Delete, error: type[Exception]) -> None:
        """Also inside a batch: then the good write before it leaves nothing either."""
        with pytest.raises(error):
            self.store.commit(Batch(writes=(Put(Key("Extra", "", "x"), Owner.CONTROL, None, {}), write)))

    @rule(limit=st.integers(1, 4))
    def watch(self, limit: int) -> None:
        """One page; a watcher that comes too late lists again."""
        try:
            page = self.store.changes(self.resume_at, limit)
        except Compacted:
            assert self.resume_at < self.floor
            listed, self.resume_at = self.store.list_objects("")
            self.watched = {each.key: each for each in listed}
            return
        assert page == [change for change in self.log if change.sequence > self.resume_at][:limit]
        for change in page:
            self.resume_at = change.sequence
            if change.type == ChangeType.PUT:
                self.watched[change.object.key] = change.object
            else:
                del self.watched[change.object.key]

    @rule(keep=st.integers(0, 6))
    def compact(self, keep: int) -> None:
        gone = self.log[: max(len(self.log) - keep, 0)]
        assert self.store.compact(keep) == len(gone)
        self.log = self.log[len(gone) :]
        self.floor = gone[-1].sequence if gone else self.floor

    @invariant()
    def the_store_holds_what_was_written(self) -> None:
        if hasattr(self, "store"):
            listed, sequence = self.store.list_objects("")
            assert listed == [self.objects[key] for key in sorted(self.objects)]
            assert self.store.changes(self.floor) == self.log
            assert sequence >= self.last()
            if self.resume_at == self.last():
                assert self.watched == self.objects


def few(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )


def test_any_history_on_sqlite(tmp_path: Path) -> None:
    class OnSqlite(History):
        def open_empty(self) -> SqlStore:
            return open_store(sqlite_url(Path(tempfile.mkdtemp(dir=tmp_path))), wall_s=lambda: 0.5)

    run_state_machine_as_test(OnSqlite, settings=few(15))


@pytest.mark.real
def test_any_history_on_postgresql(postgres_server: PostgresServer) -> None:
    template = postgres_server.new_database()
    open_store(postgres_server.url(template)).close()

    class OnPostgres(History):
        def open_empty(self) -> SqlStore:
            return open_store(postgres_server.url(postgres_server.new_database(template)), wall_s=lambda: 0.5)

    run_state_machine_as_test(OnPostgres, settings=few(15))
