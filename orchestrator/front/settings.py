"""Settings of one front process."""

from dataclasses import dataclass
from pathlib import Path

from orchestrator.settings import Settings


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """Addresses are host:port; loopback only until TLS exists, and port 0 takes a free one."""

    name: str
    region: str
    zone: str  # of callers that do not name another known one
    control_address: str
    gateway_address: str
    link_address: str
    artifacts_url: str
    state_dir: Path

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
        )

    @property
    def orders_path(self) -> Path:
        return self.state_dir / f"front-{self.name}.orders"
