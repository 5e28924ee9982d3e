"""Training jobs on the Ray cluster that this process is connected to.

A job is one detached actor that drives Ray Train, and a folder. All that is worth knowing is in the folder, so a killed
control plane, a dead actor and a lost Ray each leave behind what the next submission goes on from.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayError

from orchestrator.errors import CloudUnavailable
from orchestrator.model.phases import JobPhase
from orchestrator.model.running import JobProgress
from workers.training.job import fail_job, finished, prepare, run_job
from workers.training.reports import read_log, read_progress
from workers.training.result import read_result
from workers.training.spec import SpecRefused, TrainingSpec, parse_spec

log = logging.getLogger(__name__)

RAY_NAMESPACE = "skerry"
ANSWER_LIMIT_S = 30.0  # of the driver, whose process may still be starting on a busy machine

T = TypeVar("T")


class TrainingDriver:
    """Runs inside the detached actor: one job, in a thread, so that calls are answered meanwhile.

    It ends its own process once the result is in the folder, and never raises: a failed job is a result too.
    """

    def __init__(self, spec_json: str, out_dir: str) -> None:
        self._spec, self._folder = parse_spec(spec_json), Path(out_dir)
        self._own_handle = ray.get_runtime_context().current_actor
        threading.Thread(target=self._run, name="training", daemon=True).start()

    def folder(self) -> str:
        return str(self._folder)

    def _run(self) -> None:
        from workers.training.ray_cluster import train_on_ray

        try:
            run_job(self._spec, self._folder, train_on_ray)
        except Exception as err:  # noqa: BLE001 - edge of the process: the job's owner must hear of any bug
            fail_job(self._spec.digest, self._folder, f"{type(err).__name__}: {err}")
        finally:
            ray.kill(self._own_handle)


class EmbeddedRayTrainer:
    """`orchestrator.control.seams.Trainer`. `out_dir` of a job must be seen by every machine of the cluster.

    A finished job whose actor is gone is known again once it is submitted with the same folder, which runs nothing; a
    failed one is tried again. A spec that no recipe accepts is a failed job. Raises CloudUnavailable, and OSError or
    ValueError for a folder that cannot be used.
    """

    def __init__(self) -> None:
        self._folders: dict[str, Path] = {}

    async def submit(self, job: str, spec_json: str, out_dir: Path) -> None:
        self._folders[job] = out_dir
        try:
            spec = parse_spec(spec_json)
        except SpecRefused as err:
            fail_job("", out_dir, f"spec.{err}")
            return
        if not finished(spec, out_dir):
            await _off_loop(lambda: _start_driver(job, spec, out_dir))

    async def progress(self, job: str) -> JobProgress | None:
        folder = await self._folder(job)
        if folder is None:
            return None
        if result := read_result(folder):
            return _ended(folder, result)
        if await _off_loop(lambda: _driver(job)) is None:
            # It may have ended between the two looks.
            late = read_result(folder)
            return _ended(folder, late) if late else None
        return _running(folder)

    async def stop(self, job: str) -> None:
        """Kill the driver; its controller, workers and converter end with it. What was checkpointed stays."""
        await _off_loop(lambda: _kill_driver(job))
        log.info("training job stopped", extra={"job": job})

    async def logs(self, job: str, offset: int) -> tuple[list[str], int]:
        folder = await self._folder(job)
        return read_log(folder, offset) if folder else ([], offset)

    async def _folder(self, job: str) -> Path | None:
        """Where a job's files are: remembered, or asked of the driver that another control plane started."""
        if job not in self._folders and (found := await _off_loop(lambda: _folder_of_driver(job))):
            self._folders[job] = found
        return self._folders.get(job)


def _actor_name(job: str) -> str:
    return f"training/{job}"


def _start_driver(job: str, spec: TrainingSpec, out_dir: Path) -> None:
    if _driver(job) is not None:
        return
    prepare(spec, out_dir)  # here, so that an older result in the folder is not taken for this one's
    log.info("training job submitted", extra={"job": job, "workers": spec.workers, "folder": str(out_dir)})
    ray.remote(TrainingDriver).options(
        name=_actor_name(job),
        namespace=RAY_NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,  # it only waits; a worker counts one logical CPU
        max_restarts=0,  # the control plane submits again, which resumes
    ).remote(spec.to_json(), str(out_dir))


def _driver(job: str) -> Any | None:
    try:
        return ray.get_actor(_actor_name(job), namespace=RAY_NAMESPACE)
    except ValueError:  # no such actor, or a dead one
        return None


def _folder_of_driver(job: str) -> Path | None:
    if (driver := _driver(job)) is None:
        return None
    try:
        return Path(ray.get(driver.folder.remote(), timeout=ANSWER_LIMIT_S))
    except ray.exceptions.RayActorError:
        return None  # it ended just now


def _kill_driver(job: str) -> None:
    if (driver := _driver(job)) is not None:
        ray.kill(driver)


async def _off_loop(call: Callable[[], T]) -> T:
    """Run a blocking Ray call in a thread; nothing of Ray's leaves this room."""
    if not ray.is_initialized():  # else ray.get_actor would start a Ray of its own
        raise CloudUnavailable("training: this process is not connected to a Ray cluster; start it first")
    try:
        return await asyncio.to_thread(call)
    except (RayError, GetTimeoutError, ConnectionError, RuntimeError) as err:
        raise CloudUnavailable(f"training: Ray does not answer: {str(err).splitlines()[0][:200]}") from err


def _running(folder: Path) -> JobProgress:
    found = read_progress(folder)
    if found is None:
        return JobProgress(JobPhase.RUNNING, 0, 0, "starting", {}, None)
    return JobProgress(JobPhase(found.phase), found.step, found.steps, found.message, found.metrics, None)


def _ended(folder: Path, result: dict[str, Any]) -> JobProgress:
    phase, last = JobPhase(result["phase"]), read_progress(folder)
    metrics = dict(last.metrics) if last else {}
    if result["accuracy"] is not None:
        metrics["test_accuracy"] = result["accuracy"]
    return JobProgress(
        phase=phase,
        step=last.step if last else 0,
        steps=last.steps if last else 0,
        message=result["message"],
        metrics=metrics,
        result_json=None if phase is JobPhase.FAILED else json.dumps(result, sort_keys=True),
    )
