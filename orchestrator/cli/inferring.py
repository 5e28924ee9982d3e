"""`skerry infer`: one call, or many, over the Open Inference Protocol, and who answered it."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.failures import BadUsage, CommandFailed, Unreachable
from orchestrator.cli.output import Output, structured

if TYPE_CHECKING:
    import grpc

    from orchestrator.cli.client import Document, Json
    from protos.inference.v2 import inference_pb2 as pb
    from protos.inference.v2 import inference_pb2_grpc
    from workers.inference.tensors import Array

    Specs = Mapping[str, pb.ModelMetadataResponse.TensorMetadata]

MAX_MESSAGE_BYTES = 64 << 20
MAX_INPUT_BYTES = 64 << 20
FIND_GATEWAY = (
    "start one with `skerry up`, or give --gateway one that runs: `skerry status` lists those of fronts, "
    "`skerry get nodes` those of agents on their LAN"
)
SHOWN_VALUES = 20  # of a flat output, in the text form


@dataclass(frozen=True, slots=True)
class Answer:
    """One call's: `told` is what the answer's metadata says of who served it."""

    response: "pb.ModelInferResponse"
    told: Mapping[str, str]
    latency_ms: float


def infer(
    service: options.Service,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="[NAME=]FILE.npy|FILE.json|JSON", help="One for each input."),
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, max=1_000_000, help="Call so often; print percentiles.")] = 1,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.001, help="Of one call, seconds.")] = 10.0,
    namespace: options.Namespace = "default",
    output: options.OutputForm = None,
    gateway: options.Gateway = options.GATEWAY_ADDRESS,
) -> None:
    """Call a service; print its answer and who served it."""
    import grpc

    from orchestrator.cli.identity import channel_to
    from orchestrator.settings import host_port
    from protos.inference.v2 import inference_pb2_grpc

    with channel_to(host_port("--gateway", gateway), "front", "node", "replica") as channel:
        stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        try:
            request = _request(stub, service, inputs or [], (("skerry-namespace", namespace),), timeout_s)
            answers = [_call(stub, request, (("skerry-namespace", namespace),), timeout_s) for _ in range(repeat)]
        except grpc.RpcError as err:
            raise _failure(err, gateway, service, timeout_s) from err
    print(_shown(answers, output))


def _failure(err: "grpc.RpcError", gateway: str, service: str, timeout_s: float) -> CommandFailed:
    """What failed, at which address, and what would fix it."""
    import grpc

    from orchestrator.cli.client import status_in

    code, details, _ = status_in(err)
    match code:
        case grpc.StatusCode.UNAVAILABLE if _never_sent(details):
            return Unreachable(f"no gateway answers at {gateway}: {_cause(details)}", FIND_GATEWAY)
        case grpc.StatusCode.UNIMPLEMENTED:
            what = f"what listens at {gateway} does not speak the Open Inference Protocol"
            return CommandFailed(what, FIND_GATEWAY)
        case grpc.StatusCode.NOT_FOUND:
            remedy = "check the name and -n NAMESPACE: `skerry get services -A` lists the services of a control plane"
        case grpc.StatusCode.UNAVAILABLE:
            remedy = f"see `skerry explain {service}`"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            details = f"no answer within {timeout_s:g} s"
            remedy = f"raise --timeout, see `skerry status`, or check the address: {FIND_GATEWAY}"
        case _:  # the model's own word on its input
            return CommandFailed(f"{service}: {details}")
    return CommandFailed(f"{service} at {gateway}: {details}", remedy)


def _never_sent(details: str) -> bool:
    """Whether a status is the client's own, about its connection. A gateway's begins with the model or the replica."""
    return details.startswith(("failed to connect", "connections to all backends", "Socket closed", "DNS resolution"))


def _cause(details: str) -> str:
    """The client library's report in words."""
    if "refused" in details:
        return "nothing listens there"
    if "HTTP" in details or "SETTINGS" in details:
        return "what listens there does not speak gRPC"
    return details.rpartition("last error: ")[2]


def _call(
    stub: "inference_pb2_grpc.GRPCInferenceServiceStub",
    request: "pb.ModelInferRequest",
    metadata: Sequence[tuple[str, str]],
    timeout_s: float,
) -> Answer:
    start_s = time.perf_counter()
    response, call = stub.ModelInfer.with_call(request, timeout=timeout_s, metadata=tuple(metadata))
    latency_ms = (time.perf_counter() - start_s) * 1_000
    found = [*(call.initial_metadata() or ()), *(call.trailing_metadata() or ())]
    told = {key.removeprefix("skerry-"): str(value) for key, value in found if key.startswith("skerry-")}
    return Answer(response, told, latency_ms)


def _request(
    stub: "inference_pb2_grpc.GRPCInferenceServiceStub",
    service: str,
    inputs: Sequence[str],
    metadata: Sequence[tuple[str, str]],
    timeout_s: float,
) -> "pb.ModelInferRequest":
    from protos.inference.v2 import inference_pb2 as pb
    from workers.inference.tensors import raw_of

    described = stub.ModelMetadata(pb.ModelMetadataRequest(name=service), timeout=timeout_s, metadata=tuple(metadata))
    specs = {one.name: one for one in described.inputs}
    request = pb.ModelInferRequest(model_name=service)
    for name, value in _named(inputs, specs).items():
        array = _array(name, value, specs[name].datatype)
        request.inputs.add(name=name, datatype=specs[name].datatype, shape=array.shape)
        request.raw_input_contents.append(bytes(raw_of(array, specs[name].datatype)))
    return request


def _named(inputs: Sequence[str], specs: "Specs") -> dict[str, str]:
    """Each input's value by name; the name may be left out where the model has one input. Raises BadUsage."""
    wanted = ", ".join(f"{one.name} ({one.datatype} {list(one.shape)})" for one in specs.values())
    remedy = f"the model takes {wanted}; give --input NAME=FILE.npy or NAME=JSON for each"
    found: dict[str, str] = {}
    for one in inputs:
        name, equals, value = one.partition("=")
        if name not in specs or not equals:
            if len(specs) != 1 or (equals and name.isidentifier()):
                raise BadUsage(f"--input {one[:60]!r}: no input of that name", remedy)
            name, value = next(iter(specs)), one
        if name in found:
            raise BadUsage(f"--input {name}: given twice", remedy)
        found[name] = value
    if missing := [name for name in specs if name not in found]:
        raise BadUsage(f"no --input for {', '.join(missing)}", remedy)
    return found


def _array(name: str, value: str, datatype: str) -> "Array":
    """A file's or a JSON text's values in the model's datatype. Raises CommandFailed."""
    import numpy as np

    from workers.inference.errors import BadTensor
    from workers.inference.tensors import numpy_type

    try:
        loaded = _load(name, value)
        if datatype == "BYTES":
            return np.array(loaded, dtype=object)
        return np.ascontiguousarray(np.asarray(loaded).astype(numpy_type(datatype), casting="unsafe"))
    except (BadTensor, ValueError, TypeError, OverflowError) as err:
        raise CommandFailed(
            f"--input {name}: cannot be read as {datatype}: {err}", "give numbers in nested lists"
        ) from err


def _load(name: str, value: str) -> "Json | Array":
    path = Path(value)
    if value.endswith((".npy", ".json")):
        if not path.is_file():
            raise CommandFailed(
                f"--input {name}: {value}: no such file", "give NAME=FILE.npy, NAME=FILE.json or NAME=JSON"
            )
        if path.stat().st_size > MAX_INPUT_BYTES:
            raise CommandFailed(
                f"--input {name}: {value} has more than 64 MiB", "one message cannot carry more: split it"
            )
        if value.endswith(".npy"):
            import numpy as np

            array: Array = np.load(path, allow_pickle=False)
            return array
        value = path.read_text(encoding="utf-8")
    loaded: Json = json.loads(value)
    return loaded


def _outputs(response: "pb.ModelInferResponse") -> "dict[str, Array]":
    from workers.inference.tensors import read_raw, read_typed

    raw = response.raw_output_contents
    return {
        one.name: read_raw(one.name, one.datatype, one.shape, raw[at])
        if raw
        else read_typed(one.name, one.datatype, one.shape, one.contents)
        for at, one in enumerate(response.outputs)
    }


def _plain(value: object) -> "Json":
    """BYTES elements as text; they are all that JSON does not know."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if isinstance(value, bool | int | float | str) else str(value)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted values."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _latencies(answers: Sequence[Answer]) -> "Document":
    ordered = sorted(answer.latency_ms for answer in answers)
    figures = {f"p{round(share * 100)}": round(percentile(ordered, share), 3) for share in (0.5, 0.95, 0.99)}
    return {"calls": len(ordered), **figures, "max": round(ordered[-1], 3)}


def _served(answers: Sequence[Answer]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for answer in answers:
        site = answer.told.get("site", "unknown")
        counts[site] = counts.get(site, 0) + 1
    return counts


def _shown(answers: Sequence[Answer], output: Output | None) -> str:
    last = answers[-1]
    outputs = _outputs(last.response)
    if output in (Output.JSON, Output.YAML):
        return structured(
            {
                "model": last.response.model_name,
                "model_version": last.response.model_version,
                **{key: last.told.get(key, "") for key in ("site", "version", "decision", "replica")},
                "outputs": {
                    name: {"shape": list(array.shape), "data": _plain(array.ravel().tolist())}
                    for name, array in outputs.items()
                },
                "latency_ms": _latencies(answers),
                "served_by": dict(_served(answers)),
            },
            output,
        )
    return "\n".join([*_output_lines(outputs), *_served_lines(answers)])


def _output_lines(outputs: "Mapping[str, Array]") -> list[str]:
    lines: list[str] = []
    for name, array in outputs.items():
        flat = _plain(array.ravel()[:SHOWN_VALUES].tolist())
        values = ", ".join(
            f"{one:.5g}" if isinstance(one, float) else str(one) for one in (flat if isinstance(flat, list) else [])
        )
        lines.append(f"{name} {list(array.shape)}: {values}{', ...' if array.size > SHOWN_VALUES else ''}")
    return lines


def _served_lines(answers: Sequence[Answer]) -> list[str]:
    last = answers[-1]
    told = last.told
    version = told.get("version") or last.response.model_version or "unknown"
    lines = [
        f"served by {told.get('site', 'unknown')}, version {version}, decision {told.get('decision', 'unknown')}, "
        f"{last.latency_ms:.2f} ms"
    ]
    if len(answers) > 1:
        figures = _latencies(answers)
        sites = ", ".join(f"{site} {count}" for site, count in sorted(_served(answers).items()))
        lines.append(
            f"{len(answers)} calls: p50 {figures['p50']} ms, p95 {figures['p95']} ms, p99 {figures['p99']} ms; {sites}"
        )
    return lines
