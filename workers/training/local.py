"""`python -m workers.training.local --out DIR`: the digits model and its variants from one process, without Ray."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from workers.training import digits_cnn
from workers.training.digits import Split
from workers.training.job import run_job
from workers.training.reports import Reporter
from workers.training.result import TrainingResult
from workers.training.spec import Gate, TrainingSpec


def train_here(spec: TrainingSpec, split: Split, folder: Path, reporter: Reporter) -> None:
    tf = digits_cnn.quiet_tensorflow()
    member = digits_cnn.Member(tf.distribute.get_strategy())
    digits_cnn.train(spec, split.train, folder / "checkpoints", member, reporter)


def train_locally(spec: TrainingSpec, folder: Path) -> TrainingResult:
    return run_job(spec, folder, train_here)


def _spec(arguments: argparse.Namespace) -> TrainingSpec:
    return TrainingSpec(
        model=arguments.model,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        learning_rate=arguments.learning_rate,
        gate=Gate(arguments.accuracy_min),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 for a model that passed the gate, 1 for one that did not or for a failed job."""
    parser = argparse.ArgumentParser(description="Train the digits model in this process and build its variants.")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, variants/ and result.json")
    parser.add_argument("--model", default="digits")
    parser.add_argument("--epochs", type=int, default=TrainingSpec("digits").epochs)
    parser.add_argument("--batch-size", type=int, default=TrainingSpec("digits").batch_size)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=TrainingSpec("digits").learning_rate)
    parser.add_argument("--accuracy-min", type=float, default=0.0, help="the gate")
    given = parser.parse_args(arguments)
    result = train_locally(_spec(given), given.out)
    print(f"{result.phase} in {result.seconds:.1f} s: {result.message}")
    for each in result.variants:
        print(
            f"{each.variant}  {each.size_bytes} bytes  accuracy {each.accuracy:.4f}  p50 {each.p50_ms:.4f} ms"
            f"  p99 {each.p99_ms:.4f} ms  {given.out / each.path}"
        )
    return 0 if result.phase == "succeeded" else 1


if __name__ == "__main__":
    sys.exit(main())
