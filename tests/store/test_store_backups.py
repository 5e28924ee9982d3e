"""A backup taken from either database goes back into either; a damaged one changes nothing."""

import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.errors import Compacted, EpochStale, InvalidRequest, RevisionStale, StoreUnavailable
from orchestrator.model.claims import Claim, JobHold
from orchestrator.model.ids import DecisionId, JobRef, ReplicaId, SiteName
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.stored import Batch, DecisionRecord, Delete, Key, Owner, Put, StoredDecision
from orchestrator.store import SqlStore, open_store, restore
from tests.postgres import PostgresServer
from tests.store_urls import sqlite_url

KEY = Key("Site", "", "quay")
CLAIM = Claim(
    ReplicaId("job/plant/train"),
    SiteName("quay"),
    None,
    Resources(2**40, 1_500),
    ClaimPhase.BOUND,
    JobHold(JobRef("plant", "train")),
    None,
    1,
    1_800_000_000.1,
)
DECISIONS = tuple(  # the second is a delta against the first
    StoredDecision(
        DecisionRecord(DecisionId(id), 1, 1_800_000_000.1, 3, 1 / 3, ("took quay \u00e9",)),
        str(["\u00e9", id, *range(2_000)]),
        f'{{"n": "{id}"}}',
    )
    for id in ("d1", "d2")
)


def fill(store: SqlStore) -> int:
    """Some of everything; answers the leader's epoch."""
    lease = store.acquire_lease("leader", "old", 600)
    spec = {"text": "\x00 \u00e9 \U0001f6a2", "big": 2**70, "third": 1 / 3}
    keys = [KEY, Key("ModelService", "plant", "caf\u00e9")]
    writes = tuple(Put(key, Owner.OPERATOR, 0, spec, {"phase": "ready"}, {"gpu": "true"}) for key in keys)
    store.commit(Batch(writes=writes, claims=(CLAIM,), decision=DECISIONS[0], epoch=lease.epoch))
    store.commit(Batch(decision=DECISIONS[1], epoch=lease.epoch))
    return lease.epoch


def contents(store: SqlStore) -> tuple[object, ...]:
    return store.list_objects("")[0], store.claims(), [store.decision(one.id) for one in store.decisions()]


NewUrl = Callable[[str], str]


@pytest.fixture
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> NewUrl:
    numbers = iter(range(100))

    def make(kind: str) -> str:
        if kind == "sqlite":
            return sqlite_url(tmp_path / str(next(numbers)))
        server: PostgresServer = request.getfixturevalue("postgres_server")
        return server.url(server.new_database())

    return make


POSTGRES = pytest.mark.real
WAYS = [
    ("sqlite", "sqlite"),
    pytest.param("sqlite", "postgresql", marks=POSTGRES),
    pytest.param("postgresql", "sqlite", marks=POSTGRES),
    pytest.param("postgresql", "postgresql", marks=POSTGRES),
]


@pytest.mark.parametrize(("source", "target"), WAYS)
def test_a_backup_goes_from_either_database_into_either(
    new_url: NewUrl, tmp_path: Path, source: str, target: str
) -> None:
    file, target_url = tmp_path / "backup.skerry", new_url(target)
    with closing(open_store(new_url(source))) as store:
        epoch = fill(store)
        before = contents(store)
        _, sequence = store.list_objects("")
        store.backup(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.glob("backup.skerry*")] == ["backup.skerry"]
    restore(target_url, file)
    with closing(open_store(target_url)) as restored:
        assert contents(restored) == before
        check_history_went_on(restored, sequence, epoch)


def check_history_went_on(restored: SqlStore, sequence: int, epoch: int) -> None:
    """Nobody from before the restore can be taken for somebody after it."""
    with pytest.raises(Compacted):
        restored.changes(sequence)
    _, restored_sequence = restored.list_objects("")
    assert restored_sequence > sequence
    (written,) = restored.commit(Batch(writes=(Put(KEY, Owner.OPERATOR, None, {"n": 2}),)))
    assert [each.object for each in restored.changes(restored_sequence)] == [written]
    with pytest.raises(EpochStale):
        restored.commit(Batch(epoch=epoch + 1))  # a leader elected after the backup was made
    lease = restored.acquire_lease("leader", "new", 600)
    assert lease.epoch > epoch + 1
    restored.commit(Batch(epoch=lease.epoch))


class TestTargets:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "backup.skerry"
        with closing(open_store(sqlite_url(tmp_path / "source"))) as store:
            fill(store)
            store.backup(path)
        return path

    def test_one_that_is_not_empty_is_refused_without_force(self, store_url: str, file: Path) -> None:
        with closing(open_store(store_url)) as store:
            kept = store.commit(Batch(writes=(Put(Key("Zone", "", "mine"), Owner.COMMAND, 0, {}),)))
            with pytest.raises(InvalidRequest, match=r"it holds objects, changes already.*force"):
                restore(store_url, file)
            assert store.list_objects("") == (kept, 1)

    def test_one_that_a_control_plane_uses_is_refused_without_force(self, store_url: str, file: Path) -> None:
        with closing(open_store(store_url)) as store:
            store.acquire_lease("leader", "running", 600)
            with pytest.raises(InvalidRequest, match="it holds leases already"):
                restore(store_url, file)

    def test_force_replaces_everything_and_fences_off_the_leader(self, store_url: str, file: Path) -> None:
        with closing(open_store(store_url)) as store:
            for holder in "abcd":
                store.release_lease(store.acquire_lease("leader", holder, 600))
            epoch = store.acquire_lease("leader", "running", 600).epoch
            mine = Put(Key("Zone", "", "mine"), Owner.COMMAND, None, {})
            (zone,) = store.commit(Batch(writes=(mine,)))
            store.commit(Batch(writes=tuple(Put(KEY, Owner.OPERATOR, None, {"n": n}) for n in range(9))))
            _, sequence = store.list_objects("")
            store.acquire_lease("trainer", "gone with the restore", 600)
            restore(store_url, file, force=True)
            assert [each.key.name for each in store.list_objects("")[0]] == ["caf\u00e9", "quay"]
            assert store.claims() == [CLAIM]
            with pytest.raises(RevisionStale):
                store.commit(Batch(writes=(Put(zone.key, Owner.COMMAND, zone.revision, {}),)))
            with pytest.raises(EpochStale):
                store.commit(Batch(epoch=epoch))
            check_history_went_on(store, sequence, epoch)
            assert store.acquire_lease("trainer", "new", 1).epoch > 1

    def test_an_unusable_target_is_refused(self, tmp_path: Path, file: Path) -> None:
        (tmp_path / "taken").touch()
        with pytest.raises(StoreUnavailable, match="cannot make"):
            restore(sqlite_url(tmp_path / "taken"), file)


class TestFiles:
    def test_an_existing_file_is_not_written_over(self, tmp_path: Path) -> None:
        (tmp_path / "precious").write_text("mine")
        with closing(open_store(sqlite_url(tmp_path))) as store:
            for name in ("precious", "store.db"):
                with pytest.raises(InvalidRequest, match="exists already"):
                    store.backup(tmp_path / name)
        assert (tmp_path / "precious").read_text() == "mine"

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with closing(open_store(sqlite_url(tmp_path))) as store, pytest.raises(StoreUnavailable, match="folder exists"):
            store.backup(tmp_path / "absent" / "backup")

    @pytest.mark.parametrize("content", [None, b"", b"text, no database" * 500])
    def test_what_is_no_backup_is_refused(self, tmp_path: Path, content: bytes | None) -> None:
        file, url = tmp_path / "backup", sqlite_url(tmp_path / "target")
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(InvalidRequest, match="backup file"):
            restore(url, file)
        assert not (tmp_path / "target").exists()

    def test_a_stores_own_file_is_no_backup(self, tmp_path: Path) -> None:
        open_store(sqlite_url(tmp_path)).close()
        with pytest.raises(InvalidRequest, match="no backup of Skerry"):
            restore(sqlite_url(tmp_path / "target"), tmp_path / "store.db")

    def test_one_of_a_newer_skerry_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "backup"
        with closing(open_store(sqlite_url(tmp_path))) as store:
            store.backup(file)
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("UPDATE backup SET schema = '9999'")
            connection.commit()
        with pytest.raises(InvalidRequest, match="a newer Skerry made it"):
            restore(sqlite_url(tmp_path / "target"), file)

    def test_a_changed_value_is_found(self, tmp_path: Path) -> None:
        """No page is damaged: only the digest can tell."""
        file = tmp_path / "backup"
        with closing(open_store(sqlite_url(tmp_path))) as store:
            fill(store)
            store.backup(file)
        for statement in (
            "UPDATE objects SET status = '{}' WHERE name = 'quay'",
            "DELETE FROM claims",
            "UPDATE log SET sequence = 0",
        ):
            copy = tmp_path / "copy"
            copy.write_bytes(file.read_bytes())
            with closing(sqlite3.connect(copy)) as connection:
                connection.execute(statement)
                connection.commit()
            with pytest.raises(InvalidRequest, match="is damaged"):
                restore(sqlite_url(tmp_path / "target"), copy)

    def test_a_cut_or_damaged_file_is_refused_or_harmless(self, tmp_path: Path) -> None:
        """Some bytes of a SQLite file mean nothing (free space, version numbers): then all must be restored."""
        file, damaged, url = tmp_path / "backup", tmp_path / "damaged", sqlite_url(tmp_path / "target")
        with closing(open_store(sqlite_url(tmp_path))) as store:
            fill(store)
            before = contents(store)
            store.backup(file)
        whole, rng, refused = file.read_bytes(), random.Random(5), 0
        cuts = [whole[: rng.randrange(len(whole))] for _ in range(10)]
        for cut in cuts:
            damaged.write_bytes(cut)
            with pytest.raises(InvalidRequest):
                restore(url, damaged)
        for _ in range(40):
            content = bytearray(whole)
            for _ in range(rng.choice([1, 30, 300])):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            damaged.write_bytes(content)
            try:
                restore(url, damaged, force=True)
            except InvalidRequest:
                refused += 1
                continue
            with closing(open_store(url)) as restored:
                assert contents(restored) == before
        assert refused > 5

    @pytest.mark.real
    def test_a_backup_is_of_one_moment(self, store_url: str, tmp_path: Path) -> None:
        pair, stop = (Key("Site", "", "a"), Key("Zone", "", "z")), threading.Event()
        with closing(open_store(store_url)) as store:

            def keep_writing() -> None:
                for n in range(1_000_000):
                    if stop.is_set():
                        return
                    writes = tuple(Put(key, Owner.COMMAND, None, {"n": n, "fill": "x" * 5_000}) for key in pair)
                    more = Put(Key("Site", "", f"more-{n}"), Owner.COMMAND, None, {"n": n})
                    store.commit(Batch(writes=(*writes, more)))
                    if n > 5:
                        store.commit(Batch(writes=(Delete(more.key, Owner.COMMAND, None),)))

            writer = threading.Thread(target=keep_writing)
            writer.start()
            try:
                for number in range(5):
                    store.backup(tmp_path / f"backup-{number}")
            finally:
                stop.set()
                writer.join()
        for number in range(5):
            url = sqlite_url(tmp_path / f"restored-{number}")
            restore(url, tmp_path / f"backup-{number}")
            with closing(open_store(url)) as restored:
                assert len({each.spec["n"] for each in restored.list_objects("")[0] if each.key in pair}) <= 1
