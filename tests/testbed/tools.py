"""Programs that the testbed runs. A missing one fails the test with how to get it."""

import os
import re
import shutil
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "tests" / "tools" / "install.sh"
HINT = "run `make tools`"


@cache
def program(name: str) -> str:
    """The path of a system program; those for networks may lie outside a user's PATH."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    assert found, f"{name} is missing: {HINT}"
    return found


@cache
def toxiproxy(part: str) -> str:
    """The path of its `server` or `cli`, of the version that `make tools` builds."""
    version = re.search(r"^TOXIPROXY=(\S+)", INSTALL.read_text(), re.MULTILINE)
    assert version, f"{INSTALL} names no version of Toxiproxy"
    cache_dir = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache_dir / "skerry" / "tools" / f"toxiproxy-{version[1]}" / part
    assert path.exists(), f"{path} is missing: {HINT}"
    return str(path)


def may_make_networks() -> None:
    assert os.geteuid() == 0, "network namespaces need root: run these tests as root (they touch no other network)"
