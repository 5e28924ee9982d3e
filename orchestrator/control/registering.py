"""From a finished job, or a pushed file, to a registered version: artifacts first, then the object that names them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.api.seams import PushedModel
from orchestrator.model.stored import Json, JsonObject, Key, Owner, Put, StoredObject
from orchestrator.objects import spec_of, validate
from orchestrator.objects.kinds import API_VERSION
from orchestrator.objects.translate import version_spec
from workers.artifacts.describing import Describer
from workers.inference.runtime import ModelDescription, TensorSpec

MIB = 1 << 20
SERVER_MIB = 16  # what the inference server needs besides the model: threads, buffers of calls under way
CORES = 0.25  # of a small model; a core then holds four


def trained_version(job: StoredObject, result: JsonObject, folder: Path, describer: Describer) -> Put:
    """Store the variants of a job's result and name them in a new version, called after the job.

    Raises InvalidRequest for a result that makes no version: the trainer and the objects disagree, which is a bug.
    """
    found = result["variants"]
    variants = [v for v in found if isinstance(v, dict)] if isinstance(found, list) else []
    for variant in variants:
        describer.add(folder / str(variant["path"]), "tflite", job.key.namespace)
    spec: dict[str, Json] = {
        "model": job.spec["model"],
        "source": {"kind": "trained", "job": job.key.name},
        "variants": [_trained_variant(v) for v in variants],
    }
    model, name = str(job.spec["model"]), job.key.name
    return _version_put(
        job.key.namespace, name if name.startswith(f"{model}-") else f"{model}-{name}", spec, Owner.CONTROL
    )


def _trained_variant(variant: Mapping[str, Json]) -> Json:
    return {
        "variant": variant["variant"],
        "artifact": {"digest": variant["digest"], "size_bytes": variant["size_bytes"], "format": "tflite"},
        "memory_mib": SERVER_MIB + math.ceil(int(str(variant["memory_bytes"])) / MIB),
        "cores": CORES,
        "accuracy": variant["accuracy"],
        "latency": {"p50_ms": variant["p50_ms"], "p99_ms": variant["p99_ms"]},
    }


def pushed_version(
    model: PushedModel, description: ModelDescription, existing: Sequence[StoredObject], measured: Mapping[str, float]
) -> Put:
    """A version for a model made elsewhere. The same bytes and accuracy again name the version that has them.

    `measured`: p50_ms and p99_ms of a call on this machine.
    """
    spec: dict[str, Json] = {
        "model": model.name,
        "source": {"kind": "pushed"},
        "variants": [
            {
                "variant": "savedmodel" if model.format == "savedmodel.tar" else _litert_variant(description),
                "artifact": {"digest": model.digest, "size_bytes": model.size_bytes, "format": model.format},
                "memory_mib": SERVER_MIB + math.ceil(3 * model.size_bytes / MIB),
                "cores": CORES,
                "latency": {"p50_ms": measured["p50_ms"], "p99_ms": measured["p99_ms"]},
                "inputs": [_tensor(t) for t in description.inputs],
                "outputs": [_tensor(t) for t in description.outputs],
                **({"accuracy": model.accuracy} if model.accuracy is not None else {}),
            }
        ],
    }
    same = [v for v in existing if v.spec.get("model") == model.name and model.digest in _digests(v)]
    known = next((v for v in same if model.accuracy in (None, _accuracy(v))), None)
    name = f"{model.name}-{model.digest.removeprefix('sha256:')[:12]}"
    if known is None and same:
        name += f"-{len(same) + 1}"  # the same bytes with another word on their accuracy: versions are immutable
    return _version_put(model.namespace, known.key.name if known else name, spec, model.owner)


def _litert_variant(description: ModelDescription) -> str:
    quantised = any(t.datatype in ("INT8", "UINT8") for t in description.inputs)
    return "litert-int8" if quantised else "litert-fp32"


def _tensor(spec: TensorSpec) -> Json:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape or ())}


def _digests(version: StoredObject) -> set[str]:
    return {variant.digest for variant in version_spec(version).variants}


def _accuracy(version: StoredObject) -> float | None:
    return version_spec(version).variants[0].accuracy


def _version_put(namespace: str, name: str, spec: dict[str, Json], owner: Owner) -> Put:
    document: dict[str, Json] = {
        "apiVersion": API_VERSION,
        "kind": "ModelVersion",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    checked = validate(document)
    return Put(
        Key("ModelVersion", namespace, name),
        owner,
        0,
        spec=spec_of(checked),
        status={"phase": "Ready", "conditions": []},
    )
