"""`skerry-edge upgrade`, as arguments."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

RESTART = "systemctl restart skerry-edge"
WITHIN_S = 120.0
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+!_-]{0,63}")

_EXAMPLES = """examples:
  skerry-edge upgrade 0.2.0 --state-dir /var/lib/skerry-edge
  skerry-edge upgrade 0.2.0 --state-dir /var/lib/skerry-edge --from /media/wheels       # no index, no network

exit codes: 0 it runs the version, 1 it does not and the former one runs (the reason is on stderr), 2 wrong usage
"""


def add_upgrade(commands: "Commands") -> argparse.ArgumentParser:
    upgrade = commands.add_parser(
        "upgrade",
        help="run another version of the agent, and go back if it does not serve as well",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    upgrade.add_argument("version", type=_version, metavar="VERSION")
    upgrade.add_argument("--root", type=Path, default=Path("/opt/skerry"), metavar="DIR", help="(%(default)s)")
    upgrade.add_argument("--state-dir", type=Path, required=True, metavar="DIR", help="of the agent that runs")
    upgrade.add_argument(
        "--from", dest="wheels", type=Path, metavar="DIR", help="a folder of wheels, in place of an index"
    )
    upgrade.add_argument("--restart", default=RESTART, metavar="COMMAND", help="starts the agent again (%(default)s)")
    upgrade.add_argument(
        "--within-s", type=float, default=WITHIN_S, metavar="S", help="to serve as before (%(default)s)"
    )
    return upgrade


def _version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: give a version, such as 0.2.0")
    return text
