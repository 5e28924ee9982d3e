"""`skerry-edge join` and `skerry-edge doctor`, as arguments."""

import argparse
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from workers.edge import options as given
from workers.edge.configured import PREFIX

if TYPE_CHECKING:
    from workers.identity.tokens import Token

TOKEN_VARIABLE = "SKERRY_TOKEN"

_JOIN_EXAMPLES = """examples:
  skerry-edge join front.example.com --token-file token --state-dir ~/oslo-1
  skerry-edge join 192.0.2.7:7072 --node oslo-1 --lan 10.0.0.5:9001 --state-dir ~/oslo-1   # token in SKERRY_TOKEN
  skerry-edge join 127.0.0.1:7072 --token T --state-dir ~/oslo-1 --no-run

A command line is seen by everybody on the machine: give the token by a file (- is stdin) or in SKERRY_TOKEN.

exit codes: 0 stopped by a signal, or joined with --no-run; 1 refused (the reason is on stderr), 2 wrong usage
"""

_DOCTOR_EXAMPLES = """examples:
  skerry-edge doctor --state-dir ~/oslo-1
  skerry-edge doctor --state-dir ~/oslo-1 -o json

exit codes: 0 nothing fails, 1 a check fails, 2 wrong usage
"""

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_join(commands: "Commands") -> argparse.ArgumentParser:
    join = commands.add_parser(
        "join",
        help="become a node, with a token, and serve",
        description="Makes a key that never leaves this machine, gets a certificate for it, and serves as `run` does.",
        epilog=_JOIN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    join.add_argument("address", type=given.enrolment_address, metavar="ADDRESS", help="HOST[:7072] of a front")
    token = join.add_mutually_exclusive_group()
    token.add_argument("--token", help="from `skerry token create`")
    token.add_argument("--token-file", metavar="FILE", help="a file that holds the token; - is stdin")
    join.add_argument("--node", type=given.name, help="this node's name (the host's name)")
    join.add_argument("--anew", action="store_true", help="forget what the state folder is a node of")
    join.add_argument("--no-run", action="store_true", help="join only; `skerry-edge run` serves later")
    return join


def add_doctor(commands: "Commands") -> argparse.ArgumentParser:
    doctor = commands.add_parser(
        "doctor",
        help="what is wrong with this node, and the remedy",
        epilog=_DOCTOR_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument("--state-dir", type=Path, required=True, metavar="DIR")
    doctor.add_argument("-o", "--output", choices=("text", "json"), default="text")
    return doctor


def join(options: argparse.Namespace) -> None:
    """Does it, and says so. Raises EdgeError."""
    from workers.edge import joining
    from workers.edge.joining import Joining
    from workers.edge.software import own_software
    from workers.identity.folder import folder_of

    asked = Joining(
        address=options.address,
        token=_token(options),
        node=options.node or "",
        host_name=given.name_from(socket.gethostname()),
        software=own_software(),
        lan=options.lan,
        memory_mib=options.memory_mib,
        cores=options.cores,
        anew=options.anew,
    )
    root = options.state_dir.expanduser()
    found = joining.join(root, asked)
    ends = folder_of(root).held().certificate.not_valid_after_utc
    where = f"serves its LAN on {found.lan}" if found.lan else "listens on nothing (--lan HOST:PORT)"
    print(f"joined: node {found.node} of site {found.site}, {where}, fronts {', '.join(found.fronts)}")
    print(f"certificate until {ends:%Y-%m-%d %H:%M} UTC, renewed before that by its own key", flush=True)


def serve(options: argparse.Namespace) -> NoReturn:
    """As `run`, in a program that begins anew: without what only joining needs in memory, and without the token."""
    run = [sys.executable, "-P", "-m", "workers.edge.command", "run", "--state-dir", str(options.state_dir)]
    run += ["--probe-interval-s", str(options.probe_interval_s), "--log-level", options.log_level]
    if options.heartbeat_s:
        run += ["--heartbeat-s", str(options.heartbeat_s)]
    sys.stderr.flush()
    os.execv(sys.executable, run)


def _token(options: argparse.Namespace) -> "Token | None":
    """Raises EdgeError."""
    from workers.edge.errors import EnrolmentFailed
    from workers.identity.errors import TokenInvalid
    from workers.identity.tokens import token_from

    by_variable = os.environ.pop(TOKEN_VARIABLE, None)  # whatever is started from here does not hear it
    os.environ.pop(f"{PREFIX}TOKEN", None)
    text = options.token or by_variable
    if options.token_file:
        text = _text_of(options.token_file)
    try:
        return token_from(text) if text else None
    except TokenInvalid as err:
        raise EnrolmentFailed(str(err)) from err


def _text_of(file: str) -> str:
    """Raises EdgeError."""
    from workers.edge.errors import EnrolmentFailed

    try:
        text = sys.stdin.read(10_000) if file == "-" else Path(file).expanduser().read_text()[:10_000]
    except (OSError, ValueError) as err:
        raise EnrolmentFailed(f"--token-file {file}: cannot be read: {err}") from err
    if not text.strip():
        raise EnrolmentFailed(f"--token-file {file}: is empty: write the token of `skerry token create` to it")
    return text
