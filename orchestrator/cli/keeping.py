"""`skerry backup` and `skerry restore`: the store as one file."""

from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import typer

from orchestrator.cli import options
from orchestrator.cli.failures import CommandFailed
from orchestrator.cli.running import settings_with

Url = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="Database [default: SKERRY_STORE, else in the state folder]."),
]


def backup(
    file: Annotated[Path, typer.Argument(help="To be written; must not exist.")],
    store: Url = None,
    state_dir: options.StateDir = None,
) -> None:
    """Write the store to one file.

    All objects, claims, decisions and leases; the control plane may go on running.
    """
    from orchestrator.store import open_store

    settings = settings_with(state_dir=state_dir, store_url=store)
    path = Path(unquote(settings.store.removeprefix("sqlite:///")))
    if settings.store.startswith("sqlite:///") and not path.exists():
        raise CommandFailed(f"there is no store at {path}", "check --store and --state-dir")
    opened = open_store(settings.store)
    try:
        opened.backup(file)
    finally:
        opened.close()
    print(f"{file} written")


def restore(
    file: Annotated[Path, typer.Argument(help="What `skerry backup` wrote.")],
    force: Annotated[bool, typer.Option("--force", help="Replace what the store holds.")] = False,
    store: Url = None,
    state_dir: options.StateDir = None,
) -> None:
    """Put a backup into the store. Stop the control plane first (`skerry down`)."""
    from orchestrator import store as stores
    from orchestrator.control.supervisor import holder

    settings = settings_with(state_dir=state_dir, store_url=store)
    if (process := holder(settings)) is not None:
        raise CommandFailed(
            f"the control plane runs on this store (process {process})", "end it with `skerry down` first"
        )
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    stores.restore(settings.store, file, force=force)
    print(f"restored from {file}")
