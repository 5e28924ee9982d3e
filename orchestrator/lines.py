"""Log lines: one line each, a fixed sentence and its facts."""

import json
import logging
import sys
from typing import TextIO

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """`time LEVEL room: sentence key="value" ...`; an exception is one more fact."""

    def format(self, record: logging.LogRecord) -> str:
        # Ray marks every record of its process with a fact of its own.
        facts = {key: value for key, value in vars(record).items() if key not in _OWN and not key.startswith("_")}
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        told = "".join(f" {key}={json.dumps(value, default=str)}" for key, value in facts.items())
        stamp = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}"
        return f"{stamp} {record.levelname} {record.name}: {record.getMessage()}{told}"


def log_to(stream: TextIO = sys.stderr) -> None:
    """Send everything from INFO on to `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
