"""The training on a Ray cluster: N workers under Ray Train, each one a member of MultiWorkerMirroredStrategy."""

import os
from collections.abc import Mapping
from pathlib import Path

import ray
import ray.train.collective
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError

from workers.training import digits_cnn
from workers.training.digits import Split, load_digits
from workers.training.job import RAY_FOLDER, TrainingFailed
from workers.training.lean_trainer import LeanTrainer, MultiWorkerConfig
from workers.training.reports import Reporter
from workers.training.spec import TrainingSpec, parse_spec

MAX_FAILURES = 3  # of the worker group; each one costs a restart from the last epoch's checkpoint

# Read by Ray Train in the driver, and handed on to its workers.
RAY_TRAIN_ENVIRONMENT: Mapping[str, str] = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # 2 by default: what the end of a short training waits for
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "180",  # 60 by default: short for a busy machine's first imports
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process more, for clouds that announce preemption
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",  # its controller does, on purpose
}


def train_on_ray(spec: TrainingSpec, split: Split, folder: Path, reporter: Reporter) -> None:
    """Run the workers to the last epoch's checkpoint. `folder` must be seen by every machine of the cluster.

    Raises TrainingFailed after MAX_FAILURES losses of the group, or for an error in the training itself.
    """
    os.environ.update(RAY_TRAIN_ENVIRONMENT)
    trainer = LeanTrainer(
        train_on_one_worker,
        train_loop_config={"folder": str(folder), "spec": spec.to_json()},
        backend_config=MultiWorkerConfig(),
        scaling_config=ScalingConfig(num_workers=spec.workers, resources_per_worker={"CPU": 1}),
        run_config=RunConfig(
            name=RAY_FOLDER, storage_path=str(folder), failure_config=FailureConfig(max_failures=MAX_FAILURES)
        ),
    )
    reporter.log(f"waiting for {spec.workers} workers for {len(split.train)} images")
    try:
        trainer.fit()
    except TrainingFailedError as err:
        raise TrainingFailed(f"training on Ray: {_first_cause(err)}") from err


def train_on_one_worker(given: dict[str, str]) -> None:
    """Runs in every worker. Progress and checkpoints are the first worker's and go straight into the job's folder."""
    spec, folder = parse_spec(given["spec"]), Path(given["folder"])
    rank = ray.train.get_context().get_world_rank()
    reporter = Reporter(folder)
    reporter.log(f"worker {rank} started, process {os.getpid()}")
    tf = digits_cnn.quiet_tensorflow()
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if spec.workers > 1 else tf.distribute.get_strategy()
    member = digits_cnn.Member(strategy, rank, ray.train.collective.broadcast_from_rank_zero)
    train = load_digits().train
    digits_cnn.train(spec, train, folder / "checkpoints", member, reporter if rank == 0 else None)


def _first_cause(err: BaseException) -> str:
    """Ray wraps the worker's exception and prints whole tracebacks; the owner wants the last line."""
    failures = getattr(err, "worker_failures", None) or {}
    cause = next(iter(failures.values()), err)
    lines = [line for line in str(cause).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(cause).__name__
