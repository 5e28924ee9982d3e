"""Ray Train with fewer processes: on two cores each one that Ray starts costs 1 to 3 s of CPU before it does anything.

TensorflowTrainer is this DataParallelTrainer with a backend that sets TF_CONFIG, but importing it imports TensorFlow
into driver and controller too: 4 s of CPU each where bytecode is there, 12 s where it is not. The private names of Ray
that this file knows are those of the pinned 2.60; nothing else of the room knows any.
"""

import asyncio
import json
import os
import socket
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

# Each is a process more. The cleaner asks the dashboard whether the controller lives; an embedded Ray has no dashboard,
# and all it did was to repeat "Failed to query Ray Train Controller actor state". Datasets: we bring none.
UNWANTED_CALLBACKS = (PlacementGroupCleanerCallback, DatasetsCallback)


class LeanTrainer(DataParallelTrainer):  # type: ignore[misc]
    """A fixed number of workers, without datasets of Ray's and without an autoscaler to tell of them.

    `fit` is for the process of a detached actor: Ray Train's controller runs right in it. As an actor of its own the
    controller, killed with its owner, left the workers' placement group behind, and with it their CPUs; a placement
    group that a detached actor makes itself ends with it.
    """

    def _create_default_callbacks(self) -> list[Any]:
        wanted = super()._create_default_callbacks()
        return [callback for callback in wanted if not isinstance(callback, UNWANTED_CALLBACKS)]

    def _initialize_and_run_controller(self, **given: Any) -> Any:
        policy = _UnannouncedWorkers(scaling_config=self.scaling_config)
        controller = TrainController(**(given | {"scaling_policy": policy}))
        asyncio.run(controller.run())
        return controller.get_result()


class _UnannouncedWorkers(FixedScalingPolicy):  # type: ignore[misc]
    """Tells no autoscaling coordinator, an actor that reserves nothing on a cluster of fixed size."""

    def after_controller_start(self, train_run_context: Any) -> None:
        pass

    def _maybe_send_resource_request(self) -> None:
        pass


@dataclass(frozen=True)
class MultiWorkerConfig(BackendConfig):  # type: ignore[misc]
    """Tells every worker of the group where the others are."""

    @property
    def backend_cls(self) -> type:
        return _MultiWorkerBackend


class _MultiWorkerBackend(Backend):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        addresses = worker_group.execute(_free_address)
        ranks = range(len(addresses))
        ray.get([worker_group.execute_single_async(rank, _set_tf_config, addresses, rank) for rank in ranks])


def _free_address() -> str:
    host = ray.util.get_node_ip_address()
    with socket.socket() as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


def _set_tf_config(addresses: list[str], rank: int) -> None:
    task = {"type": "worker", "index": rank}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
