"""Settings of one front process."""

from dataclasses import dataclass
from pathlib import Path

from orchestrator.front.nodes import HEARTBEAT_MS
from orchestrator.settings import Settings


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """Addresses are host:port, and port 0 takes a free one; what is in plain text listens on loopback only."""

    name: str
    region: str
    zone: str  # of callers that do not name another known one
    control_address: str
    gateway_address: str
    link_address: str
    artifacts_url: str
    state_dir: Path
    identity_dir: Path | None = None  # None: nodes attach in plain text, on loopback only
    enrolment_address: str = ""  # empty: machines join elsewhere
    hosts: tuple[str, ...] = ()  # by which others know this machine, the first where an address names no host
    heartbeat_s: float = HEARTBEAT_MS / 1000  # of nodes; after three they are silent, and they probe at rest every two

    @classmethod
    def of(cls, settings: Settings, name: str) -> "FrontSettings":
        """One front of an installation."""
        return cls(
            name=name,
            region=settings.region,
            zone=settings.zone,
            control_address=settings.control_address,
            gateway_address=settings.gateway_address,
            link_address=settings.link_address,
            artifacts_url=settings.artifacts,
            state_dir=settings.state_dir,
            identity_dir=None if settings.plain_link else settings.identity_dir(name),
            enrolment_address="" if settings.plain_link else settings.enrolment_address,
            hosts=settings.hosts,
        )

    @property
    def orders_path(self) -> Path:
        return self.state_dir / f"front-{self.name}.orders"
