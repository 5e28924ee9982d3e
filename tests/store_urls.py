"""Empty databases of both kinds: a SQLite file in every run, PostgreSQL where the `real` tests run."""

from pathlib import Path

import pytest

SQLITE = "sqlite"
POSTGRES = pytest.param("postgresql", marks=pytest.mark.real)


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'store.db'}"


@pytest.fixture(params=[SQLITE, POSTGRES])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == SQLITE:
        return sqlite_url(tmp_path)
    url: str = request.getfixturevalue("postgres_url")
    return url
