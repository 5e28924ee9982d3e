"""A real PostgreSQL server for tests: Debian's binaries, a folder of its own, a unix socket, no port.

Use: `from tests.postgres import postgres_server, postgres_url  # noqa: F401` in a conftest or a test file.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
import pytest

_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """One cluster. `user` None: this process may run it itself."""

    binaries: Path
    folder: Path
    user: str | None

    def run(self, name: str, *arguments: str) -> None:
        command = [str(self.binaries / name), *arguments]
        # Files, not pipes: the server inherits them, and a pipe would stay open for as long as it runs.
        with (self.folder / "output").open("a+b") as output:
            done = subprocess.run(
                command, user=self.user, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=self.folder
            )
            output.seek(0)
            assert done.returncode == 0, f"{command}: {output.read().decode()[-2000:]}"

    def create(self) -> None:
        self.run("initdb", "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")

    def start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c max_connections=50"
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-t", "60", "-o", options, "start")

    def crash(self) -> None:
        """Every process of it quits without writing anything more, as after a kill."""
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(f"host={self.folder} user=postgres dbname={database}", autocommit=True) as connection:
            connection.execute(statement)

    def new_database(self, template: str = "template0") -> str:
        """A fresh database's name."""
        name = f"t{next(_NUMBERS)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = make_server()
    try:
        server.create()
        server.start()
        yield server
        server.crash()
    finally:
        shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database."""
    name = postgres_server.new_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


def make_server() -> PostgresServer:
    """Not created yet. Fails where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.fail("PostgreSQL is not installed (no /usr/lib/postgresql/*/bin/initdb): run `make tools`")
    # Not under pytest's folder, which other users may not enter, and short: a socket's path has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="skerry-pg-", dir="/tmp"))
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses root
    if user:
        shutil.chown(folder, user)
    return PostgresServer(found[-1].parent, folder, user)
