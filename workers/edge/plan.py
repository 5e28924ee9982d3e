"""When to renew the certificate, and what came of the last try: on disk, for the agent, for status and for doctor."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from workers.artifacts.files import sync_folder
from workers.edge.state import Json, read_json

RENEWAL = "renewal.json"
_LATEST_S = 1e11  # the year 5138: whatever is later was spoilt


@dataclass(frozen=True, slots=True)
class Plan:
    """Instants since 1970, 0: nobody knows. `revoked`: what a front said when it refused the key, else empty."""

    due_s: float = 0.0
    ends_s: float = 0.0  # of the certificate
    revoked: str = ""
    failed: str = ""  # why the last try came to nothing

    @property
    def renew_at_s(self) -> float:
        """As the front has said, at the latest when it ends; at once if nobody knows."""
        return min(self.due_s, self.ends_s or self.due_s)


def plan_of(root: Path) -> Plan:
    saved = read_json(root / RENEWAL)
    return Plan(
        due_s=_instant(saved.get("due_s")),
        ends_s=_instant(saved.get("ends_s")),
        revoked=_text(saved.get("revoked")),
        failed=_text(saved.get("failed")),
    )


def save_plan(root: Path, plan: Plan) -> None:
    """Raises OSError."""
    passing = root / f".{RENEWAL}.new"
    passing.write_text(json.dumps(asdict(plan)))
    passing.replace(root / RENEWAL)
    sync_folder(root)


def _instant(value: Json) -> float:
    return float(value) if isinstance(value, int | float) and 0 < value < _LATEST_S else 0.0


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
