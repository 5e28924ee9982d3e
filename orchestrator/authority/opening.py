"""Which authority an installation has, by one setting."""

import datetime
from pathlib import Path

from orchestrator.authority.command import CommandAuthority
from orchestrator.authority.files import FileAuthority
from orchestrator.authority.parts import Authority

COMMAND = "command:"


def open_authority(named: str, now: datetime.datetime) -> Authority:
    """`named`: a folder, or `command:` and a command line. Raises Unavailable."""
    if named.startswith(COMMAND):
        return CommandAuthority(named.removeprefix(COMMAND))
    return FileAuthority(Path(named), now)
