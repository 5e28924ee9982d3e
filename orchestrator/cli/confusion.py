"""A training job's confusion matrix for a reader. `-o json` and `-o yaml` have it as it is."""

from typing import TYPE_CHECKING

from orchestrator.cli.output import columns
from orchestrator.cli.rows import at

if TYPE_CHECKING:
    from orchestrator.cli.client import Document, Json

MOST_LABELS = 20  # of a table that still fits a terminal
WORST = 5


def confusion_in(document: "Document") -> list[list[int]]:
    """`[label][answer]` counts of the evaluation; empty where there is none that can be read."""
    found = at(document, "status", "result", "evaluation", "confusion")
    rows = [[count for count in row if type(count) is int] for row in _lists(found)]
    return rows if rows and all(len(row) == len(rows) for row in rows) else []


def _lists(value: "Json") -> "list[list[Json]]":
    return [one for one in value if isinstance(one, list)] if isinstance(value, list) else []


def without_confusion(status: "Document") -> "Document":
    """A status whose matrix is shown elsewhere."""
    result = at(status, "result")
    evaluation = at(result, "evaluation")
    if not isinstance(result, dict) or not isinstance(evaluation, dict):
        return status
    left = {key: value for key, value in evaluation.items() if key != "confusion"}
    return {**status, "result": {**result, "evaluation": left}}


def confusion_text(counts: list[list[int]]) -> str:
    """How many were right, what was most often taken for what, and, of few labels, the whole as a table."""
    total, right = sum(map(sum, counts)), sum(row[label] for label, row in enumerate(counts))
    wrong = sorted(
        (-count, label, answer)
        for label, row in enumerate(counts)
        for answer, count in enumerate(row)
        if count and answer != label
    )
    worst = ", ".join(f"{label} for {answer} ({-count})" for count, label, answer in wrong[:WORST])
    more = f" and {len(wrong) - WORST} other pairs" if len(wrong) > WORST else ""
    lines = [f"{right} of {total} right" + (f"; most often taken: {worst}{more}" if wrong else "")]
    if len(counts) <= MOST_LABELS:
        rows = [[str(label), *(str(count or ".") for count in row)] for label, row in enumerate(counts)]
        lines += ["", columns(["LABEL", *map(str, range(len(counts)))], rows)]
    return "\n".join(lines)
