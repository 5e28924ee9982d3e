"""Decisions with their inputs: whatever is stored and pruned in whatever order, what is kept comes back as it was."""

import hashlib
import json
import random
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from orchestrator.control.codec import decision_from, inputs_from, stored_decision
from orchestrator.errors import Damaged, NotFound
from orchestrator.model.ids import DecisionId
from orchestrator.model.inputs import FIRST_PLANNER, DecisionInputs
from orchestrator.model.stored import Batch, DecisionRecord, StoredDecision
from orchestrator.placement.deciding import decide
from orchestrator.store import SqlStore, open_store, restore
from orchestrator.store.upgrade import MIGRATIONS
from tests.placement.worlds import SETTINGS, claim, cloud, cloud_leg, edge, relay_leg, service, snapshot
from tests.postgres import PostgresServer
from tests.store_urls import sqlite_url


@dataclass(frozen=True, slots=True)
class Drift:
    """A made-up snapshot: much that stays, some that is measured anew, and now and then all of it another."""

    world: int
    measured: int

    @property
    def text(self) -> str:
        stays = random.Random(self.world).sample(range(10**8), 300)
        return json.dumps([stays, random.Random(f"{self.world} {self.measured}").sample(range(10**8), 20)])


drifts = st.builds(Drift, st.integers(0, 2), st.integers(0, 30))


class Kept(RuleBasedStateMachine):
    """`kept` is what the store should hold, in order."""

    def new_url(self) -> str:
        """Of an empty database."""
        raise NotImplementedError

    @initialize()
    def start(self) -> None:
        self.url = self.new_url()
        self.store = open_store(self.url)
        self.kept: list[StoredDecision] = []

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    @rule(inputs=drifts, decided=drifts, made_wall_s=st.integers(0, 9))
    def decide(self, inputs: Drift, decided: Drift, made_wall_s: int) -> None:
        id = hashlib.sha256(f"{inputs.text}{decided.text}".encode()).hexdigest()[:8]
        record = DecisionRecord(DecisionId(id), 1, float(made_wall_s), 1, 0.5, (f"took {id}",))
        made = StoredDecision(record, inputs.text, decided.text)
        self.store.commit(Batch(decision=made))
        self.kept = [one for one in self.kept if one.id != id] + [made]

    @rule(keep=st.integers(0, 6), after=st.integers(0, 9), limit=st.integers(1, 5))
    def prune(self, keep: int, after: int, limit: int) -> None:
        newest = {one.id for one in self.kept[max(len(self.kept) - keep, 0) :]}
        gone = [one.id for one in self.kept[:-1] if one.id not in newest or one.record.made_wall_s < after][:limit]
        assert self.store.prune_decisions(keep, float(after), limit) == len(gone)
        self.kept = [one for one in self.kept if one.id not in gone]

    @rule()
    def move_by_backup(self) -> None:
        with tempfile.TemporaryDirectory() as at:
            self.store.backup(Path(at) / "backup")
            self.store.close()
            self.url = self.new_url()
            restore(self.url, Path(at) / "backup")
        self.store = open_store(self.url)

    @invariant()
    def what_is_kept_comes_back_and_nothing_else_is_there(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self.store.decisions() == [one.record for one in reversed(self.kept)]
        assert [self.store.decision(one.id) for one in self.kept] == self.kept
        assert self.store.latest_decision() == (self.kept[-1] if self.kept else None)
        assert count_of_parts(self.url) <= 2 * 2 * len(
            {one.id for one in self.kept}
        )  # each text, and at most a base each


def parts_of(url: str) -> list[sa.Row[tuple[object, ...]]]:
    """Of the inputs of each decision in order: whether it is whole, and its bytes; then all other parts."""
    statement = (
        "SELECT base IS NULL AS whole, length(body) AS size_bytes FROM parts "
        "LEFT JOIN decisions ON inputs = digest ORDER BY number IS NULL, number"
    )
    return edit(url, statement)


def count_of_parts(url: str) -> int:
    return int(str(edit(url, "SELECT count(*) FROM parts")[0][0]))


def edit(url: str, statement: str, **values: object) -> list[sa.Row[tuple[object, ...]]]:
    """Behind the store's back."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        found = connection.execute(sa.text(statement), values)
        rows = list(found.all()) if found.returns_rows else []
    engine.dispose()
    return rows


def few(examples: int) -> settings:
    checks = [HealthCheck.too_slow]
    return settings(max_examples=examples, stateful_step_count=20, deadline=None, suppress_health_check=checks)


def test_any_history_of_decisions_on_sqlite(tmp_path: Path) -> None:
    class OnSqlite(Kept):
        def new_url(self) -> str:
            return sqlite_url(Path(tempfile.mkdtemp(dir=tmp_path)))

    run_state_machine_as_test(OnSqlite, settings=few(10))


@pytest.mark.real
def test_any_history_of_decisions_on_postgresql(postgres_server: PostgresServer) -> None:
    template = postgres_server.new_database()
    open_store(postgres_server.url(template)).close()

    class OnPostgres(Kept):
        def new_url(self) -> str:
            return postgres_server.url(postgres_server.new_database(template))

    run_state_machine_as_test(OnPostgres, settings=few(6))


def made(id: str, drift: Drift) -> StoredDecision:
    return StoredDecision(DecisionRecord(DecisionId(id), 1, 0.0, 1, 0.0), drift.text, f'"{id}"')


def fill(store: SqlStore, *drifts: Drift) -> None:
    for number, drift in enumerate(drifts):
        store.commit(Batch(decision=made(f"d{number}", drift)))


class TestParts:
    def test_a_snapshot_like_the_one_before_takes_little_room(self, store_url: str) -> None:
        with closing(open_store(store_url)) as store:
            fill(store, Drift(0, 0), Drift(0, 1), Drift(0, 2), Drift(1, 0), Drift(1, 1))
        found = parts_of(store_url)[:5]
        whole, sizes = [bool(row.whole) for row in found], [row.size_bytes for row in found]
        assert whole == [True, False, False, True, False]
        assert max(sizes[1], sizes[2], sizes[4]) < min(sizes[0], sizes[3]) / 5

    def test_the_same_text_is_stored_once(self, store_url: str) -> None:
        with closing(open_store(store_url)) as store:
            fill(store, Drift(0, 0), Drift(0, 0))
            assert count_of_parts(store_url) == 3

    @pytest.mark.parametrize(
        ("damage", "says"),
        [
            (lambda body: None, "is missing"),
            (lambda body: b"", "cannot be unpacked"),
            (lambda body: body[: len(body) // 2], "cannot be unpacked"),
            (lambda body: body[:-1] + bytes([body[-1] ^ 1]), "cannot be unpacked|is not what was written"),
            (lambda body: b"\x28\xb5\x2f\xfd" + b"\xff" * 40, "length|cannot be unpacked"),
        ],
        ids=["missing", "empty", "cut", "changed", "a frame of any length"],
    )
    @pytest.mark.parametrize("number", [0, 1], ids=["whole", "delta"])
    def test_a_damaged_part_is_told_and_never_used(
        self, store_url: str, number: int, damage: Callable[[bytes], bytes | None], says: str
    ) -> None:
        with closing(open_store(store_url)) as store:
            fill(store, Drift(0, 0), Drift(0, 1), Drift(0, 2))
            where = f"WHERE digest = (SELECT inputs FROM decisions WHERE id = 'd{number}')"
            body = damage(bytes(edit(store_url, f"SELECT body FROM parts {where}")[0][0]))
            if body is None:
                edit(store_url, f"DELETE FROM parts {where}")
            else:
                edit(store_url, f"UPDATE parts SET body = :body {where}", body=body)
            with pytest.raises(Damaged, match=says) as raised:
                store.decision(DecisionId(f"d{number}"))
            assert "skerry restore" in str(raised.value)
            hurt = {0, 1, 2} if number == 0 else {1}  # the others are deltas against the first
            for other in {0, 1, 2} - hurt:
                assert store.decision(DecisionId(f"d{other}")) == made(f"d{other}", Drift(0, other))
            store.commit(Batch(decision=made("d9", Drift(0, 9))))
            assert store.latest_decision() == made("d9", Drift(0, 9))

    def test_a_base_that_is_no_whole_one_is_told(self, store_url: str) -> None:
        with closing(open_store(store_url)) as store:
            fill(store, Drift(0, 0), Drift(0, 1), Drift(0, 2))
            edit(
                store_url,
                "UPDATE parts SET base = (SELECT inputs FROM decisions WHERE id = 'd1') "
                "WHERE digest = (SELECT inputs FROM decisions WHERE id = 'd2')",
            )
            with pytest.raises(Damaged, match="a delta where a whole one belongs"):
                store.decision(DecisionId("d2"))


def at_schema(url: str, revision: str) -> None:
    """An empty store as an earlier release made it."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def real_decision() -> tuple[DecisionInputs, StoredDecision]:
    wanted = service()
    world = snapshot(
        [cloud(), edge("a"), edge("b")],
        [cloud_leg(30), relay_leg("a", 8), relay_leg("b", 9)],
        [wanted],
        [claim("b", wanted)],
    )
    inputs = DecisionInputs(world, SETTINGS, 0, FIRST_PLANNER)
    return inputs, stored_decision(inputs, decide(inputs), [], 3, 5.5)


def test_decisions_of_the_first_release_stay_readable(store_url: str) -> None:
    """Migrated, each has the inputs that its release decided with."""
    url = store_url.replace("postgresql://", "postgresql+psycopg://")
    at_schema(url, "0001")
    inputs, stored = real_decision()
    snapshot_json = json.dumps(json.loads(stored.inputs_json)["snapshot"], sort_keys=True, separators=(",", ":"))
    statement = (
        "INSERT INTO decisions (id, number, epoch, made_wall_s, snapshot_json, decision_json) "
        "VALUES (:id, :number, 3, 5.5, :snapshot, :decision)"
    )
    for number, id in enumerate(("d-old", "d-older")):
        edit(url, statement, id=id, number=9 - number, snapshot=snapshot_json, decision=stored.decision_json)
    with closing(open_store(store_url)) as store:
        found = store.decision(DecisionId("d-old"))
        assert inputs_from(found.inputs_json) == inputs
        assert decision_from(found.decision_json) == decide(inputs)
        assert store.decisions() == [
            DecisionRecord(DecisionId(id), 3, 5.5, 1, stored.record.usd_per_hour) for id in ("d-old", "d-older")
        ]
        with pytest.raises(NotFound):
            store.decision(stored.id)


def test_a_backup_of_the_first_release_is_restored_with_its_decisions(tmp_path: Path) -> None:
    from orchestrator.store import backups

    _, stored = real_decision()
    old = sqlite_url(tmp_path)
    at_schema(old, "0001")
    edit(
        old,
        "INSERT INTO decisions (id, number, epoch, made_wall_s, snapshot_json, decision_json) VALUES "
        "('d-old', 1, 3, 5.5, :snapshot, :decision)",
        snapshot=json.dumps(json.loads(stored.inputs_json)["snapshot"]),
        decision=stored.decision_json,
    )
    engine = sa.create_engine(old)
    with engine.begin() as connection:  # as that release ended a backup
        backups._manifest.create(connection)
        connection.execute(sa.insert(backups._manifest).values(schema="0001", digest=backups._digest(connection)))
    engine.dispose()
    restore(sqlite_url(tmp_path / "new"), tmp_path / "store.db")
    with closing(open_store(sqlite_url(tmp_path / "new"))) as store:
        assert store.decision(DecisionId("d-old")).decision_json == stored.decision_json
