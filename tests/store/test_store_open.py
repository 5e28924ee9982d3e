"""What opening a store answers to databases that cannot be used: a clear error with the remedy, and nothing changed."""

import os
import socket
import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from orchestrator.errors import EpochStale, InvalidRequest, StoreUnavailable
from orchestrator.model.stored import Batch, Key, Owner, Put
from orchestrator.store import open_store
from orchestrator.store.engines import open_engine, parse_url
from orchestrator.store.schema import HEAD, VERSION_TABLE, metadata
from orchestrator.store.upgrade import MIGRATIONS
from tests.postgres import PostgresServer
from tests.store_urls import sqlite_url

KEY = Key("Site", "", "quay")


def write(url: str, n: int = 1) -> None:
    with closing(open_store(url)) as store:
        store.commit(Batch(writes=(Put(KEY, Owner.COMMAND, None, {"n": n, "text": "x" * 2_000}),)))


def refused(url: str, *words: str) -> str:
    with pytest.raises(StoreUnavailable) as raised:
        open_store(url, busy_timeout_s=0.05)
    for word in words:
        assert word in str(raised.value)
    return str(raised.value)


class TestUrls:
    @pytest.mark.parametrize("url", ["", "store.db", "mysql://u@h/d", "sqlite://", "sqlite:///:memory:"])
    def test_only_files_and_postgresql_are_taken(self, url: str) -> None:
        with pytest.raises(InvalidRequest, match="store URL"):
            open_store(url)

    def test_a_password_is_never_shown(self) -> None:
        with pytest.raises(InvalidRequest) as raised:
            open_store("mysql://skerry:hunter2@localhost/skerry")
        assert "hunter2" not in str(raised.value)

    @pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
    def test_postgresql_goes_through_psycopg(self, scheme: str) -> None:
        assert parse_url(f"{scheme}://u@h/d").drivername == "postgresql+psycopg"


class TestSchema:
    def test_a_store_reopened_holds_what_it_held(self, store_url: str) -> None:
        write(store_url)
        with closing(open_store(store_url)) as store:
            assert store.get(KEY).spec["n"] == 1

    def test_migrations_make_exactly_the_tables_that_the_code_uses(self, store_url: str) -> None:
        open_store(store_url).close()
        engine = open_engine(parse_url(store_url), 1)
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
            assert compare_metadata(context, metadata) == []
        engine.dispose()

    def test_the_newest_revision_is_the_one_the_code_knows(self) -> None:
        assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD

    def test_a_newer_schema_is_refused_and_left_alone(self, store_url: str) -> None:
        write(store_url)
        with edited(store_url) as connection:
            connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        refused(store_url, "has schema 9999", f"knows up to {HEAD}", "start the newer Skerry")
        with edited(store_url) as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM objects")).scalar_one() == 1

    def test_anothers_tables_are_not_taken_for_ours(self, store_url: str) -> None:
        with edited(store_url) as connection:
            connection.execute(sa.text("CREATE TABLE objects (theirs TEXT)"))
        refused(store_url, "holds another's tables ['objects']", "a database of its own")

    def test_a_neighbours_tables_are_left_alone(self, store_url: str) -> None:
        with edited(store_url) as connection:
            connection.execute(sa.text("CREATE TABLE alembic_version (version_num TEXT)"))
        write(store_url)

    def test_a_table_lost_while_open_says_so_without_the_values(self, store_url: str) -> None:
        with closing(open_store(store_url)) as store:
            with edited(store_url) as connection:
                connection.execute(sa.text("DROP TABLE objects"))
            with pytest.raises(StoreUnavailable) as raised:
                store.commit(Batch(writes=(Put(KEY, Owner.COMMAND, None, {"password": "hunter2"}),)))
        assert "objects" in str(raised.value)
        assert "hunter2" not in str(raised.value)

    @pytest.mark.real
    def test_many_may_open_a_new_store_at_once(self, store_url: str) -> None:
        with ThreadPoolExecutor(8) as threads:
            for store in threads.map(open_store, [store_url] * 8):
                store.close()
        write(store_url)


@contextmanager
def edited(url: str) -> Iterator[sa.Connection]:
    """Behind the store's back."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


class TestSqliteFiles:
    def test_the_folder_is_made_for_this_user_alone(self, tmp_path: Path) -> None:
        write(sqlite_url(tmp_path / "state" / "skerry"))
        assert (tmp_path / "state" / "skerry").stat().st_mode & 0o777 == 0o700

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        file = tmp_path / "store.db"
        file.write_text("not a database at all, only a text file\n" * 100)
        refused(sqlite_url(tmp_path), str(file), "file is not a database", "move it away")
        assert file.read_text().startswith("not a database")

    @pytest.mark.parametrize("pages", [1, 3, 6])
    def test_a_half_written_database(self, tmp_path: Path, pages: int) -> None:
        write(sqlite_url(tmp_path))
        file = tmp_path / "store.db"
        file.write_bytes(file.read_bytes()[: pages * 4096])
        refused(sqlite_url(tmp_path), str(file), "it is damaged: move it and its -wal file away", "skerry restore")

    def test_a_page_of_zeros(self, tmp_path: Path) -> None:
        write(sqlite_url(tmp_path))
        file = tmp_path / "store.db"
        with closing(sqlite3.connect(file)) as connection:
            page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'objects'").fetchone()[0]
        content = bytearray(file.read_bytes())
        content[(page - 1) * 4096 : page * 4096] = bytes(4096)
        file.write_bytes(content)
        refused(sqlite_url(tmp_path), "it is damaged")

    def test_an_empty_file_is_a_new_store(self, tmp_path: Path) -> None:
        (tmp_path / "store.db").touch()
        write(sqlite_url(tmp_path))

    def test_a_folder_instead_of_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "store.db").mkdir()
        refused(sqlite_url(tmp_path), "unable to open database file", "folder exists and is writable")

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "taken").touch()
        refused(sqlite_url(tmp_path / "taken" / "below"), "cannot make", "SKERRY_HOME")

    @pytest.mark.parametrize("exists", [False, True])
    def test_a_folder_that_may_not_be_written(self, tmp_path: Path, exists: bool) -> None:
        folder = tmp_path / "closed"
        folder.mkdir()
        if exists:
            write(sqlite_url(folder))
            (folder / "store.db").chmod(0o444)
        folder.chmod(0o555)
        with not_root(tmp_path):
            refused(sqlite_url(folder), "writable for this user", "SKERRY_HOME")
        folder.chmod(0o755)

    def test_a_store_that_another_process_keeps_locked(self, tmp_path: Path) -> None:
        write(sqlite_url(tmp_path))
        with closing(open_store(sqlite_url(tmp_path), busy_timeout_s=0.05)) as store:
            with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreUnavailable, match="database is locked: another process holds its write lock"):
                    store.acquire_lease("leader", "a", 1)
                assert store.get(KEY)  # readers go on
                other.execute("ROLLBACK")
            assert store.acquire_lease("leader", "a", 1)


@contextmanager
def not_root(tmp_path: Path) -> Iterator[None]:
    """Permissions do not bind root: be somebody else meanwhile, who may enter pytest's folder."""
    if os.geteuid() != 0:
        yield
        return
    entered = [folder for folder in (tmp_path, *tmp_path.parents) if not folder.stat().st_mode & stat.S_IXOTH]
    before = [folder.stat().st_mode for folder in entered]
    for folder in entered:
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for folder, mode in zip(entered, before, strict=True):
            folder.chmod(mode)


@pytest.mark.real
class TestPostgresServers:
    def test_no_server_at_the_address(self) -> None:
        with closing(socket.socket()) as taken:  # bound, but nobody listens
            taken.bind(("127.0.0.1", 0))
            url = f"postgresql://skerry:hunter2@127.0.0.1:{taken.getsockname()[1]}/skerry"
            said = refused(url, "check that the server runs", "SKERRY_STORE")
        assert "hunter2" not in said

    def test_a_database_that_does_not_exist(self, postgres_server: PostgresServer) -> None:
        refused(postgres_server.url("absent"), 'database "absent" does not exist', "SKERRY_STORE")

    def test_a_standby(self, postgres_server: PostgresServer) -> None:
        name = postgres_server.new_database()
        postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        refused(postgres_server.url(name), "read-only", "point SKERRY_STORE at the primary")

    def test_a_role_without_rights(self, postgres_server: PostgresServer) -> None:
        name = postgres_server.new_database()
        postgres_server.execute(f"CREATE ROLE guest_{name} LOGIN")
        url = postgres_server.url(name).replace("postgres@", f"guest_{name}@")
        refused(url, "permission denied", "grant it CREATE")

    def test_a_lock_that_is_never_let_go(self, postgres_url: str) -> None:
        with closing(open_store(postgres_url, busy_timeout_s=0.05)) as store, edited(postgres_url) as other:
            other.execute(sa.text("SELECT * FROM log FOR UPDATE"))
            with pytest.raises(StoreUnavailable, match="another process holds the write lock"):
                store.acquire_lease("leader", "a", 1)
            assert store.list_objects("") == ([], 0)  # readers go on

    def test_an_early_acknowledgement_is_overruled(self, postgres_server: PostgresServer) -> None:
        name = postgres_server.new_database()
        for setting, expected in (("off", "on"), ("remote_apply", "remote_apply")):
            postgres_server.execute(f"ALTER DATABASE {name} SET synchronous_commit = {setting}")
            engine = open_engine(parse_url(postgres_server.url(name)), 1)
            with engine.connect() as connection:
                assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == expected
            engine.dispose()

    def test_leases_go_by_the_servers_clock(self, postgres_url: str) -> None:
        """Two control planes whose own clocks are a day apart still agree who leads."""
        behind = open_store(postgres_url, wall_s=lambda: 0.0)
        ahead = open_store(postgres_url, wall_s=lambda: 4e9)
        with closing(behind), closing(ahead):
            behind.acquire_lease("leader", "a", 60)
            with pytest.raises(EpochStale, match="a holds it"):
                ahead.acquire_lease("leader", "b", 60)


def test_leases_on_sqlite_go_by_this_machines_clock(tmp_path: Path) -> None:
    now_s = 1_000.0
    with closing(open_store(sqlite_url(tmp_path), wall_s=lambda: now_s)) as store:
        assert store.acquire_lease("leader", "a", 4).expires_wall_s == 1_004.0
        now_s = 1_003.9
        assert store.acquire_lease("leader", "a", 4).epoch == 1
        now_s = 1_007.9
        assert store.acquire_lease("leader", "b", 4).epoch == 2
