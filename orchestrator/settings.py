"""Settings of the control plane's processes: one frozen object, read once at start."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from orchestrator.errors import InvalidRequest

CONTROL_LOG = "control-plane.log"
# With all inputs a decision over three sites takes 0.5 KB, over 300 some 40 KB, over 2,000 some 200 KB.
DECISIONS_KEPT, DECISIONS_KEPT_DAYS = 2_000, 30.0
# Of a service and a site, up to which each tick plans all: a plan of so many takes half a second, as long as a tick.
PLAN_ALL_PAIRS = 1_000
# Beyond them beside the ticks, for what creeps below their tolerances, and for gains that need several sites at once.
PLAN_ALL_EVERY_S = 600.0
# Of revocations on a node that hears of no new ones. Longer than nodes may serve alone, or a reboot would end that.
REVOCATIONS_VALID_S = 30 * 86_400.0
# Addresses only: a name that begins with 127. may lead anywhere.
LOOPBACK = re.compile(r"127(\.\d{1,3}){3}|localhost|\[?::1\]?")


def state_dir_default(environ: Mapping[str, str]) -> Path:
    """SKERRY_HOME, else the platform's state folder for the user."""
    if home := environ.get("SKERRY_HOME"):
        return Path(home).expanduser().resolve()
    base = environ.get("XDG_STATE_HOME") or "~/.local/state"
    return (Path(base) / "skerry").expanduser().resolve()


@dataclass(frozen=True, slots=True)
class Settings:
    """`skerry up` and what it supervises. Addresses are host:port; TLS wherever they are not on loopback."""

    state_dir: Path
    store_url: str  # SQLAlchemy URL; empty: SQLite in the state folder
    artifacts_url: str  # fsspec URL; empty: a folder in the state folder
    control_address: str
    gateway_address: str
    link_address: str
    region: str
    zone: str  # of the callers that enter at the local front
    decisions_kept: int = DECISIONS_KEPT
    decisions_kept_days: float = DECISIONS_KEPT_DAYS
    signing_key_path: str = ""  # PEM; empty: one of its own in the state folder
    revocations_valid_s: float = REVOCATIONS_VALID_S
    tick_s: float = 0.5
    lease_ttl_s: float = 4.0
    plan_all_pairs: int = PLAN_ALL_PAIRS
    plan_all_every_s: float = PLAN_ALL_EVERY_S
    authority_named: str = ""  # a folder, or "command:" and a command line; empty: a folder in the state folder
    enrolment_address: str = "127.0.0.1:7072"  # where machines join
    hosts: tuple[str, ...] = ()  # further names and addresses by which callers know this machine
    replica_host: str = "127.0.0.1"  # where cloud replicas listen, as gateways dial it
    plain_link: bool = False  # nodes attach without certificates: loopback only

    @property
    def authority(self) -> str:
        return self.authority_named or str(self.state_dir / "pki" / "authority")

    def identity_dir(self, part: str) -> Path:
        """Of a part that `up` starts: its key and its certificate."""
        return self.state_dir / "pki" / part

    @property
    def operator_identity(self) -> Path:
        """Whose certificate the command shows, where no other is given."""
        return self.identity_dir("operator")

    @property
    def store(self) -> str:
        return self.store_url or f"sqlite:///{quote(str(self.state_dir / 'store.db'))}"

    @property
    def artifacts(self) -> str:
        return self.artifacts_url or str(self.state_dir / "artifacts")

    @property
    def pki_dir(self) -> Path:
        """Keys that sign, keys that are trusted, and what was revoked."""
        return self.state_dir / "pki"

    @property
    def signing_key(self) -> Path:
        return Path(self.signing_key_path) if self.signing_key_path else self.pki_dir / "signing.key"

    def environ(self) -> dict[str, str]:
        """As variables for a child process, which reads the same settings back."""
        return {
            "SKERRY_HOME": str(self.state_dir),
            "SKERRY_STORE": self.store_url,
            "SKERRY_ARTIFACTS": self.artifacts_url,
            "SKERRY_CONTROL": self.control_address,
            "SKERRY_GATEWAY": self.gateway_address,
            "SKERRY_LINK": self.link_address,
            "SKERRY_REGION": self.region,
            "SKERRY_ZONE": self.zone,
            "SKERRY_DECISIONS_KEPT": str(self.decisions_kept),
            "SKERRY_DECISIONS_KEPT_DAYS": str(self.decisions_kept_days),
            "SKERRY_AUTHORITY": self.authority_named,
            "SKERRY_ENROLMENT": self.enrolment_address,
            "SKERRY_HOSTS": ",".join(self.hosts),
            "SKERRY_REPLICA_HOST": self.replica_host,
            "SKERRY_PLAIN_LINK": "1" if self.plain_link else "",
            "SKERRY_SIGNING_KEY": self.signing_key_path,
            "SKERRY_REVOCATIONS_VALID_S": str(self.revocations_valid_s),
        }  # those from tick_s on are constants that only tests change

    @property
    def logs_dir(self) -> Path:
        return self.state_dir / "logs"


def host_port(field: str, address: str) -> str:
    """`address` if it is host:port. Raises InvalidRequest."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise InvalidRequest(field, address, "give host:port, the port between 0 and 65535")
    return address


def is_loopback(address: str) -> bool:
    return LOOPBACK.fullmatch(address.rpartition(":")[0]) is not None


def named_host(address: str) -> list[str]:
    """The host of host:port, if it names one: what listens everywhere is known by other names."""
    host = address.rpartition(":")[0].strip("[]")
    return [] if host in ("0.0.0.0", "::") else [host]


def loopback(field: str, address: str) -> str:
    """`address` if it is host:port on loopback. Raises InvalidRequest."""
    if not is_loopback(host_port(field, address)):
        raise InvalidRequest(
            field, address, "plain text is for loopback only: use 127.0.0.1, or leave --plain-link out"
        )
    return address


def _positive(environ: Mapping[str, str], name: str, default: float) -> float:
    """Raises InvalidRequest."""
    text = environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InvalidRequest(name, text, f"give a number above 0, for example {default:g}")
    return value


def settings_from(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read SKERRY_* once. Raises InvalidRequest, naming the variable."""
    plain = environ.get("SKERRY_PLAIN_LINK", "") not in ("", "0")
    check = loopback if plain else host_port
    return Settings(
        state_dir=state_dir_default(environ),
        store_url=environ.get("SKERRY_STORE", ""),
        artifacts_url=environ.get("SKERRY_ARTIFACTS", ""),
        control_address=check("SKERRY_CONTROL", environ.get("SKERRY_CONTROL", "127.0.0.1:7070")),
        gateway_address=check("SKERRY_GATEWAY", environ.get("SKERRY_GATEWAY", "127.0.0.1:8001")),
        link_address=check("SKERRY_LINK", environ.get("SKERRY_LINK", "127.0.0.1:7071")),
        region=environ.get("SKERRY_REGION", "local"),
        zone=environ.get("SKERRY_ZONE", "default"),
        decisions_kept=max(1, int(_positive(environ, "SKERRY_DECISIONS_KEPT", DECISIONS_KEPT))),
        decisions_kept_days=_positive(environ, "SKERRY_DECISIONS_KEPT_DAYS", DECISIONS_KEPT_DAYS),
        authority_named=environ.get("SKERRY_AUTHORITY", ""),
        enrolment_address=check("SKERRY_ENROLMENT", environ.get("SKERRY_ENROLMENT") or "127.0.0.1:7072"),
        hosts=tuple(filter(None, environ.get("SKERRY_HOSTS", "").split(","))),
        replica_host=environ.get("SKERRY_REPLICA_HOST") or "127.0.0.1",
        plain_link=plain,
        signing_key_path=environ.get("SKERRY_SIGNING_KEY", ""),
        revocations_valid_s=_positive(environ, "SKERRY_REVOCATIONS_VALID_S", REVOCATIONS_VALID_S),
    )
