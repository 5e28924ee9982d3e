"""The time of day, as far as this machine can know it.

A machine without a battery wakes up in 1970, and one with a wrong clock refuses every certificate: the latest time ever
seen is kept on disk, so that a clock that went back is noticed and told.
"""

import datetime
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from workers.artifacts.files import sync_folder
from workers.edge.state import read_json

FLOOR = "clock.json"
WRITTEN_EVERY_S = 3_600.0  # flash wears; a clock that is off by less does no harm to a certificate of days
TOLERATED_S = 300.0  # what time synchronisation may take back

_log = logging.getLogger(__name__)


class Clock:
    """`wall_s`: seconds since 1970, as the operating system says."""

    def __init__(self, root: Path, wall_s: Callable[[], float] = time.time) -> None:
        self._path, self._wall_s = root / FLOOR, wall_s
        saved = read_json(self._path).get("latest_s")
        self._floor_s = float(saved) if isinstance(saved, int | float) and 0 < saved < 1e11 else 0.0
        self._told = False

    def now(self) -> datetime.datetime:
        """Not before the latest time ever seen."""
        return datetime.datetime.fromtimestamp(max(self._wall_s(), self._floor_s), datetime.UTC)

    def behind_s(self) -> float:
        """How far the clock is behind the latest time ever seen; 0 within what synchronisation does."""
        behind_s = self._floor_s - self._wall_s()
        return behind_s if behind_s > TOLERATED_S else 0.0

    def note(self) -> None:
        """Called now and then. Raises OSError."""
        if behind_s := self.behind_s():
            if not self._told:
                facts = {
                    "behind_s": round(behind_s),
                    "remedy": "set this machine's clock; certificates are judged by it",
                }
                _log.error("the clock is behind the latest time ever seen here", extra=facts)
            self._told = True
            return
        self._told = False
        if self._wall_s() - self._floor_s > WRITTEN_EVERY_S:
            self._write(self._wall_s())

    def learn(self, certified: datetime.datetime) -> None:
        """From a certificate that was made just now. Also ends a floor of a clock that was ahead. Raises OSError."""
        if self._floor_s > self._wall_s() + TOLERATED_S or certified.timestamp() > self._floor_s:
            self._write(certified.timestamp())

    def _write(self, latest_s: float) -> None:
        passing = self._path.with_name(f".{FLOOR}.new")
        passing.write_text(json.dumps({"latest_s": round(latest_s)}))
        passing.replace(self._path)
        sync_folder(self._path.parent)
        self._floor_s = latest_s
