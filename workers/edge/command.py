"""The command `skerry-edge`. argparse, because a node installs nothing that it does not serve with."""

import argparse
import json
import logging
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

REFUSED = 1
USAGE = 2

_RUN_EXAMPLES = """examples:
  skerry-edge run --site oslo --node oslo-1 --front 127.0.0.1:7071 --lan 127.0.0.1:9001 --state-dir ~/oslo-1
  skerry-edge run --site oslo --node oslo-1 --front 127.0.0.1:7071 --lan none --state-dir ~/oslo-1 --memory-mib 256

exit codes: 0 stopped by a signal, 1 refused (the reason is on stderr), 2 wrong usage
"""

_STATUS_EXAMPLES = """examples:
  skerry-edge status --state-dir ~/oslo-1
  skerry-edge status --state-dir ~/oslo-1 -o json

exit codes: 0 the agent runs, 1 it does not, 2 wrong usage
"""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Usage errors exit with 2 through argparse."""
    options = _parser().parse_args(argv)
    return int(options.work(options))


def _run(options: argparse.Namespace) -> int:
    # Imported here, so that --help, --version and usage errors are quick.
    from workers.edge.errors import EdgeError
    from workers.edge.process import EdgeSettings, run_agent

    logging.basicConfig(level=options.log_level.upper(), stream=sys.stderr, format=_LOG_FORMAT)
    logging.getLogger().handlers[0].setFormatter(_WithFacts(_LOG_FORMAT))
    settings = EdgeSettings(
        site=options.site,
        node=options.node,
        front=options.front,
        lan=options.lan,
        state_dir=options.state_dir.expanduser(),
        memory_bytes=options.memory_mib << 20,
        compute_millis=round(options.cores * 1000),
        probe_interval_s=options.probe_interval_s,
        heartbeat_s=options.heartbeat_s,
    )
    try:
        run_agent(settings)
    except EdgeError as err:
        print(f"skerry-edge: {err}", file=sys.stderr)
        return REFUSED
    return 0


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skerry-edge",
        description="Serves the models that are placed on this node, on its LAN and for the cloud, WAN or no WAN.",
        epilog=_RUN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_status(commands)
    return parser


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = commands.add_parser(
        "run",
        help="attach to a front and serve, in the foreground",
        epilog=_RUN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--site", type=_name, required=True, help="the Site object that this node belongs to")
    run.add_argument("--node", type=_name, required=True, help="this node's name, of no other node")
    run.add_argument("--front", type=_address, required=True, metavar="HOST:PORT", help="a front's link address")
    run.add_argument("--lan", type=_lan, required=True, metavar="HOST:PORT|none", help="where local callers call")
    run.add_argument("--state-dir", type=Path, required=True, metavar="DIR", help="outlives a reboot; one per agent")
    run.add_argument("--memory-mib", type=_count, default=1024, metavar="MIB", help="offered to models (%(default)s)")
    cores = float(os.cpu_count() or 1)
    run.add_argument("--cores", type=_positive, default=cores, help="offered to models (%(default)s)")
    run.add_argument(
        "--probe-interval-s", type=_positive, default=1.0, metavar="S", help="between probes (%(default)s)"
    )
    run.add_argument("--heartbeat-s", type=_positive, metavar="S", help="between signs of life (as the front says)")
    run.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    run.set_defaults(work=_run)


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
        from workers.edge.process import own_version

        print(f"skerry-edge {own_version()}")
        parser.exit()


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: give lower-case letters, digits, '-' and '.', at most 253")
    return text


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: give HOST:PORT, the port between 0 and 65535")
    return text


def _lan(text: str) -> str:
    return "" if text == "none" else _address(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number above 0")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number above 0")
    return value


_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class _WithFacts(logging.Formatter):
    """Appends what a record carries in `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{key}={value!r}" for key, value in record.__dict__.items() if key not in _PLAIN)
        return f"{super().format(record)} {facts}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
