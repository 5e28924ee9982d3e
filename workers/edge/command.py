"""The command `skerry-edge`. argparse, because a node installs nothing that it does not serve with."""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workers.edge import joining_command
from workers.edge import options as given
from workers.edge.configured import ConfigurationRefused, with_configuration
from workers.edge.upgrade_options import add_upgrade

if TYPE_CHECKING:
    from workers.edge.membership import Membership
    from workers.edge.process import EdgeSettings

REFUSED = 1
USAGE = 2
MEMORY_MIB = 1024

_RUN_EXAMPLES = """examples:
  skerry-edge run --state-dir ~/oslo-1                       # a machine that has joined: `skerry-edge join --help`
  skerry-edge run --site oslo --node oslo-1 --front 127.0.0.1:7071 --lan 127.0.0.1:9001 --state-dir ~/oslo-1
  skerry-edge run --site oslo --node oslo-1 --front 127.0.0.1:7071 --lan none --state-dir ~/oslo-1 --memory-mib 256

exit codes: 0 stopped by a signal, 1 refused (the reason is on stderr), 2 wrong usage
"""

_STATUS_EXAMPLES = """examples:
  skerry-edge status --state-dir ~/oslo-1
  skerry-edge status --state-dir ~/oslo-1 -o json

exit codes: 0 the agent runs, 1 it does not, 2 wrong usage
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Usage errors exit with 2 through argparse."""
    # gRPC writes of each handshake that fails, in words of its own; what it means is told by our log.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    parser = _parser()
    try:
        arguments = with_configuration(sys.argv[1:] if argv is None else argv, os.environ, parser)
    except ConfigurationRefused as err:
        print(f"skerry-edge: {err}", file=sys.stderr)
        return USAGE
    options = parser.parse_args(arguments)
    return int(options.work(options))


def _run(options: argparse.Namespace) -> int:
    # Imported here, so that --help, --version and usage errors are quick.
    from workers.edge.errors import EdgeError
    from workers.edge.membership import load

    _log_to_stderr(options.log_level)
    try:
        return _serve(options, load(options.state_dir.expanduser()))
    except EdgeError as err:
        print(f"skerry-edge: {err}", file=sys.stderr)
        return REFUSED


def _join(options: argparse.Namespace) -> int:
    from workers.edge.errors import EdgeError

    _log_to_stderr(options.log_level)
    try:
        joining_command.join(options)
        if not options.no_run:
            joining_command.serve(options)
        return 0
    except EdgeError as err:
        print(f"skerry-edge: {err}", file=sys.stderr)
        return REFUSED


def _serve(options: argparse.Namespace, joined: "Membership | None") -> int:
    """Raises EdgeError."""
    from workers.edge.process import run_agent

    run_agent(_settings(options, joined))
    return 0


def _settings(options: argparse.Namespace, joined: "Membership | None") -> "EdgeSettings":
    """Raises NotJoined."""
    from workers.edge.errors import NotJoined
    from workers.edge.process import EdgeSettings

    front: str | None = getattr(options, "front", None)
    if joined is None:
        missing = [each for each in ("site", "node", "front", "lan") if getattr(options, each) is None]
        if missing:
            said = f"--state-dir {options.state_dir} has not joined, and --{missing[0]} is not given"
            raise NotJoined(f"{said}: run `skerry-edge join ADDRESS` first, or give --site, --node, --front and --lan")
    else:
        _refuse_another(options, joined)
    memory_mib = options.memory_mib or (joined and joined.memory_mib) or MEMORY_MIB
    cores = options.cores or (joined and joined.cores) or float(os.cpu_count() or 1)
    return EdgeSettings(
        site=joined.site if joined else options.site,
        node=joined.node if joined else options.node,
        front_given=bool(front),
        fronts=(front,) if front else joined.fronts if joined else (),
        lan=options.lan if options.lan is not None else joined.lan if joined else "",
        state_dir=options.state_dir.expanduser(),
        memory_bytes=memory_mib << 20,
        compute_millis=round(cores * 1000),
        probe_interval_s=options.probe_interval_s,
        heartbeat_s=options.heartbeat_s,
        joined=joined is not None,
        disk_bytes=(options.disk_mib or 0) << 20,
    )


def _refuse_another(options: argparse.Namespace, joined: "Membership") -> None:
    """Raises NotJoined."""
    from workers.edge.errors import NotJoined

    for name, known in (("node", joined.node), ("site", joined.site)):
        asked = getattr(options, name, None)
        if asked not in (None, known):
            remedy = f"leave --{name} out, or give another --state-dir"
            raise NotJoined(f"--{name} {asked}: --state-dir {options.state_dir} has joined as {name} {known}: {remedy}")


def _status(options: argparse.Namespace) -> int:
    from workers.edge.state import read_json, running
    from workers.edge.status import as_text

    root = options.state_dir.expanduser()
    alive, status = running(root), read_json(root / "status.json")
    if not alive and not status:
        print(f"skerry-edge: no agent has run with --state-dir {root}: check the folder", file=sys.stderr)
        return REFUSED
    wall_s = status.get("wall_s")
    age_s = max(0.0, time.time() - wall_s) if isinstance(wall_s, int | float) else 0.0
    status = {**status, "agent": "running" if alive else "not running", "age_s": round(age_s, 1)}
    if not alive:
        status = {**status, "link": "not attached", "link_problem": "the agent is not running"}
    print(json.dumps(status, indent=2) if options.output == "json" else as_text(status, age_s))
    return 0 if alive else REFUSED


def _doctor(options: argparse.Namespace) -> int:
    import asyncio

    from workers.edge.doctor import State, as_json, as_table, examine

    checks = asyncio.run(examine(options.state_dir.expanduser()))
    print(as_json(checks) if options.output == "json" else as_table(checks))
    return REFUSED if any(check.state is State.FAIL for check in checks) else 0


def _upgrade(options: argparse.Namespace) -> int:
    from workers.edge.errors import EdgeError
    from workers.edge.upgrading import Upgrade, upgrade

    state_dir = options.state_dir.expanduser()
    asked = Upgrade(
        options.root, state_dir, options.version, options.wheels, options.restart, max(1.0, options.within_s)
    )
    try:
        print(f"skerry-edge: {upgrade(asked)}")
    except EdgeError as err:
        print(f"skerry-edge: {err}", file=sys.stderr)
        return REFUSED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skerry-edge",
        description="Serves the models that are placed on this node, on its LAN and for the cloud, WAN or no WAN.",
        epilog=_RUN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="options as TOML; SKERRY_EDGE_SITE and so on in the environment too"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    join = joining_command.add_join(commands)
    _add_serving(join)
    join.set_defaults(work=_join, site=None)
    _add_run(commands)
    _add_status(commands)
    joining_command.add_doctor(commands).set_defaults(work=_doctor)
    add_upgrade(commands).set_defaults(work=_upgrade)
    return parser


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = commands.add_parser(
        "run",
        help="attach to a front and serve, in the foreground",
        epilog=_RUN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--site", type=given.name, help="the Site object that this node belongs to")
    run.add_argument("--node", type=given.name, help="this node's name, of no other node")
    run.add_argument("--front", type=given.address, metavar="HOST:PORT", help="a front's link address")
    _add_serving(run)
    run.set_defaults(work=_run)


def _add_serving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lan", type=given.lan, metavar="HOST:PORT|none", help="where local callers call")
    parser.add_argument("--state-dir", type=Path, required=True, metavar="DIR", help="outlives a reboot; one per agent")
    parser.add_argument("--memory-mib", type=given.count, metavar="MIB", help=f"offered to models ({MEMORY_MIB})")
    parser.add_argument("--disk-mib", type=given.count, metavar="MIB", help="for artifacts (80%% of the free disk)")
    parser.add_argument("--cores", type=given.positive, help="offered to models (as many as there are)")
    parser.add_argument(
        "--probe-interval-s", type=given.positive, default=1.0, metavar="S", help="between probes (%(default)s)"
    )
    parser.add_argument("--heartbeat-s", type=given.positive, metavar="S", help="between signs of life (as told)")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")


def _add_status(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    status = commands.add_parser(
        "status",
        help="what the agent of a state folder holds and measures",
        epilog=_STATUS_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    status.add_argument("--state-dir", type=Path, required=True, metavar="DIR")
    status.add_argument("-o", "--output", choices=("text", "json"), default="text")
    status.set_defaults(work=_status)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for: the package index on disk takes a while to read."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from workers.edge.software import own_version

        print(f"skerry-edge {own_version()}")
        parser.exit()


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(level=level.upper(), stream=sys.stderr, format=_LOG_FORMAT)
    logging.getLogger().handlers[0].setFormatter(_WithFacts(_LOG_FORMAT))


_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class _WithFacts(logging.Formatter):
    """Appends what a record carries in `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{key}={value!r}" for key, value in record.__dict__.items() if key not in _PLAIN)
        return f"{super().format(record)} {facts}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
