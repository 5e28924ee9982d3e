"""How a job ended: what the control plane registers, or why it registers nothing."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from workers.training.reports import RESULT, write_whole
from workers.training.variants import BuiltVariant, Evaluation


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """`reason` is one sentence with both numbers, empty when passed."""

    passed: bool
    accuracy: float
    accuracy_min: float
    reason: str


@dataclass(frozen=True, slots=True)
class DataReport:
    """Which images the model learned from and which it was judged by; `overlap` counts hashes on both sides."""

    train_count: int
    test_count: int
    train_digest: str
    test_digest: str
    duplicates: int
    overlap: int


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """`phase`: "succeeded" (variants are there), "rejected" (by the gate) or "failed" (`message` says why).

    `evaluation`, `gate` and `data` are None only for a failed job.
    """

    phase: str
    message: str
    spec_digest: str
    weights_digest: str = ""
    evaluation: Evaluation | None = None
    gate: GateVerdict | None = None
    data: DataReport | None = None
    variants: tuple[BuiltVariant, ...] = ()
    seconds: float = 0.0

    @property
    def accuracy(self) -> float | None:
        return self.evaluation.accuracy if self.evaluation else None

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"accuracy": self.accuracy}, sort_keys=True)


def judge(accuracy: float, accuracy_min: float) -> GateVerdict:
    passed = accuracy >= accuracy_min
    reason = "" if passed else f"test accuracy {accuracy:.6g} is below the gate's accuracy_min {accuracy_min:.6g}"
    return GateVerdict(passed, accuracy, accuracy_min, reason)


def save_result(folder: Path, result: TrainingResult) -> None:
    write_whole(folder / RESULT, result.to_json().encode())


def read_result(folder: Path) -> dict[str, object] | None:
    """The parsed JSON, None while there is none."""
    try:
        found = json.loads((folder / RESULT).read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(found, dict):
        raise ValueError(f"{folder / RESULT}: not a training result; delete the folder and train again")
    return found
