"""One job from spec to result; how the training itself is run (one process, Ray) is the caller's."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from workers.training import checkpoints
from workers.training.digits import Split, load_digits
from workers.training.digits_cnn import steps_per_epoch
from workers.training.reports import LOG, PROGRESS, RESULT, SPEC, Progress, Reporter, read_progress, write_whole
from workers.training.result import DataReport, TrainingResult, judge, read_result, save_result
from workers.training.spec import TrainingSpec
from workers.training.variants import BuiltVariant, Evaluation

RAY_FOLDER = "ray-train"  # what Ray Train itself keeps
CONVERT_LIMIT_S = 300  # three conversions take about 5 s; a converter that hangs must not hang the job

ConverterCommand = Callable[[Path], list[str]]


class TrainingFailed(Exception):
    """The job cannot be finished; the message is what its owner reads."""


def converter_command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "workers.training.variants", "--out", str(folder)]


@dataclass(frozen=True, slots=True)
class Findings:
    evaluation: Evaluation
    variants: tuple[BuiltVariant, ...]


class Converter:
    """The converting process: started early, told to go once the model is trained."""

    def __init__(self, command: list[str]) -> None:
        root = Path(__file__).resolve().parents[2]  # `workers` is importable there, whatever our own folder is
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=root)

    def run(self) -> Findings:
        """Raises TrainingFailed when the process crashes, refuses or takes too long."""
        try:
            out, complaints = self._process.communicate("go\n", timeout=CONVERT_LIMIT_S)
        except subprocess.TimeoutExpired as err:
            self.close()
            raise TrainingFailed(f"converter: no answer within {CONVERT_LIMIT_S} s") from err
        lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        variants = tuple(BuiltVariant(**line["variant"]) for line in lines if "variant" in line)
        evaluations = [Evaluation(**line["evaluation"]) for line in lines if "evaluation" in line]
        if code := self._process.returncode:
            raise TrainingFailed(_crash(code, complaints, [each.variant for each in variants]))
        if not evaluations:
            raise TrainingFailed("converter: ended without an evaluation")
        return Findings(evaluations[0], variants)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def _crash(code: int, complaints: str, done: list[str]) -> str:
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    last = complaints.strip().splitlines()[-1] if complaints.strip() else "it said nothing"
    return f"converter: {how} after {', '.join(done) or 'no variant'}: {last}"


def finished(spec: TrainingSpec, folder: Path) -> bool:
    """Whether the folder has this spec's result. A failed one does not count: it is tried again from its checkpoint."""
    result = read_result(folder)
    return result is not None and result["spec_digest"] == spec.digest and result["phase"] != "failed"


def prepare(spec: TrainingSpec, folder: Path) -> None:
    """Make the job's folder, or take it up again. What another spec left there (a deleted job's) is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SPEC
    if path.exists() and path.read_text() != spec.to_json():
        for name in (LOG, PROGRESS):
            (folder / name).unlink(missing_ok=True)
        for name in ("checkpoints", "variants", "savedmodel", RAY_FOLDER):
            shutil.rmtree(folder / name, ignore_errors=True)
    (folder / RESULT).unlink(missing_ok=True)
    write_whole(path, spec.to_json().encode())


def run_job(
    spec: TrainingSpec,
    folder: Path,
    train: Callable[[TrainingSpec, Split, Path, Reporter], None],
    command: ConverterCommand = converter_command,
) -> TrainingResult:
    """Train, evaluate, judge, convert; the result is also in the folder. `train` leaves the last checkpoint there."""
    began_s = time.monotonic()
    prepare(spec, folder)
    reporter = Reporter(folder)
    reporter.log(f"job {spec.model}: {spec.workers} workers, {spec.epochs} epochs, seed {spec.seed}")
    converter = Converter(command(folder))
    try:
        split = load_digits()
        _starting(reporter, spec, len(split.train))
        train(spec, split, folder, reporter)
        reporter.log(f"trained in {time.monotonic() - began_s:.1f} s")
        _evaluating(reporter, folder)
        result = _concluded(spec, folder, split, converter.run())
    except TrainingFailed as err:
        return fail_job(spec.digest, folder, str(err))
    finally:
        converter.close()
    result = replace(result, seconds=round(time.monotonic() - began_s, 2))
    save_result(folder, result)
    reporter.log(f"{result.phase} after {result.seconds:.1f} s: {result.message}")
    return result


def fail_job(spec_digest: str, folder: Path, reason: str) -> TrainingResult:
    result = TrainingResult("failed", reason, spec_digest)
    Reporter(folder).log(f"failed: {reason}")
    save_result(folder, result)
    return result


def _starting(reporter: Reporter, spec: TrainingSpec, rows: int) -> None:
    steps = spec.epochs * steps_per_epoch(rows, spec)
    reporter.progress(Progress("running", 0, steps, f"starting {spec.workers} workers", {}), force=True)


def _evaluating(reporter: Reporter, folder: Path) -> None:
    last = read_progress(folder)
    step, steps = (last.step, last.steps) if last else (0, 0)
    message = "evaluating on the held-out images and building variants"
    reporter.progress(Progress("evaluating", step, steps, message, last.metrics if last else {}), force=True)


def _concluded(spec: TrainingSpec, folder: Path, split: Split, findings: Findings) -> TrainingResult:
    verdict = judge(findings.evaluation.accuracy, spec.gate.accuracy_min)
    trained = checkpoints.newest(folder / "checkpoints")
    return TrainingResult(
        phase="succeeded" if verdict.passed else "rejected",
        message=verdict.reason or f"test accuracy {verdict.accuracy:.4f}",
        spec_digest=spec.digest,
        weights_digest=trained.weights_digest if trained else "",
        evaluation=findings.evaluation,
        gate=verdict,
        data=data_report(split),
        variants=findings.variants,
    )


def data_report(split: Split) -> DataReport:
    return DataReport(
        train_count=len(split.train),
        test_count=len(split.test),
        train_digest=split.train.digest,
        test_digest=split.test.digest,
        duplicates=split.duplicates,
        overlap=len(set(split.train.hashes) & set(split.test.hashes)),
    )
