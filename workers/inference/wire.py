"""Requests and answers of ModelInfer: bytes <-> named arrays, checked against the model's description."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from protos.inference.v2 import inference_pb2 as pb
from workers.inference.errors import BadTensor, Unsupported
from workers.inference.runtime import ModelDescription, TensorSpec
from workers.inference.tensors import DATATYPES, Array, fill_typed, raw_of, read_raw, read_typed

M = TypeVar("M", bound=Message)

# Extensions of other servers that change what the call means: refused, rather than answered wrongly.
_REFUSED_REQUEST = frozenset({"sequence_id", "sequence_start", "sequence_end"})
_REFUSED_TENSOR = frozenset({"shared_memory_region", "classification"})
_RAW_OUTPUT_TAG = b"\x32"  # ModelInferResponse.raw_output_contents, field 6, length-delimited


def parse(message: type[M], payload: bytes) -> M:
    """Raises BadTensor."""
    try:
        return message.FromString(payload)
    except DecodeError as err:
        reason = f"{len(payload)} bytes are not a {message.DESCRIPTOR.full_name}"
        raise BadTensor(f"{reason}; are client and server of one protocol?") from err


def read_inputs(request: pb.ModelInferRequest, model: ModelDescription) -> dict[str, Array]:
    """Every input of the model, in its datatype and shape. Raises BadTensor, Unsupported."""
    if request.parameters:
        _refuse(_REFUSED_REQUEST, request.parameters, "the request")
    raws = request.raw_input_contents
    known = {spec.name: spec for spec in model.inputs}
    if len(request.inputs) != len(known) or any(tensor.name not in known for tensor in request.inputs):
        raise BadTensor(_misnamed([tensor.name for tensor in request.inputs], model))
    if raws and len(raws) != len(request.inputs):
        raise BadTensor(f"{len(request.inputs)} inputs but {len(raws)} raw_input_contents; send one per input")
    arrays: dict[str, Array] = {}
    for index, tensor in enumerate(request.inputs):
        name = tensor.name
        shape = _checked_shape(tensor, known[name], model.row_by_row)
        if not raws:
            arrays[name] = read_typed(name, tensor.datatype, shape, tensor.contents)
            continue
        if tensor.HasField("contents"):
            raise BadTensor(f"input {name!r} has contents beside raw_input_contents; send one or the other")
        arrays[name] = read_raw(name, tensor.datatype, shape, raws[index])
    if len(arrays) != len(known):
        raise BadTensor(_misnamed([tensor.name for tensor in request.inputs], model))
    return arrays


def wanted_outputs(request: pb.ModelInferRequest, model: ModelDescription) -> list[TensorSpec]:
    """Those asked for, in that order; all when none is named. Raises BadTensor, Unsupported."""
    if not request.outputs:
        return list(model.outputs)
    known = {spec.name: spec for spec in model.outputs}
    wanted: dict[str, TensorSpec] = {}
    for output in request.outputs:
        if output.parameters:
            _refuse(_REFUSED_TENSOR, output.parameters, f"output {output.name!r}")
        if output.name not in known:
            raise BadTensor(f"output {output.name!r} is unknown; the model gives {', '.join(known)}")
        if output.name in wanted:
            raise BadTensor(f"output {output.name!r} is requested twice")
        wanted[output.name] = known[output.name]
    return list(wanted.values())


def write_answer(
    request: pb.ModelInferRequest,
    version: str,
    specs: Sequence[TensorSpec],
    arrays: Sequence[Array],
    stamp: bytes = b"",
) -> bytes:
    """Raw when the request was raw, or when a datatype has no typed form. `stamp`: further fields, serialised."""
    head = pb.ModelInferResponse(model_name=request.model_name, model_version=version, id=request.id)
    if not request.raw_input_contents and all(DATATYPES[spec.datatype].field for spec in specs):
        for spec, array in zip(specs, arrays, strict=True):
            tensor = head.outputs.add(name=spec.name, datatype=spec.datatype, shape=array.shape)
            fill_typed(tensor.contents, array, spec.datatype)
        return head.SerializeToString() + stamp
    # Serialised messages concatenate: what does not change is made once, and a large tensor is copied only once.
    parts: list[bytes | memoryview] = [head.SerializeToString(), stamp]
    for spec, array in zip(specs, arrays, strict=True):
        content = raw_of(array, spec.datatype)
        parts += (_output(spec.name, spec.datatype, array.shape), _RAW_OUTPUT_TAG, varint(len(content)), content)
    return b"".join(parts)


def stamp_of(metadata: Mapping[str, str]) -> bytes:
    """Metadata as response parameters (`skerry-site` as `skerry_site`): most clients do not show trailing metadata."""
    answer = pb.ModelInferResponse()
    for key, value in metadata.items():
        answer.parameters[key.replace("-", "_")].string_param = value
    return answer.SerializeToString()


@lru_cache(maxsize=1024)  # shapes are the callers' choice
def _output(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    """The `outputs` entry of one raw tensor, as a message that holds nothing else."""
    answer = pb.ModelInferResponse()
    answer.outputs.add(name=name, datatype=datatype, shape=shape)
    return answer.SerializeToString()


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _misnamed(names: Sequence[str], model: ModelDescription) -> str:
    known = [spec.name for spec in model.inputs]
    takes = f"the model takes {', '.join(map(str, model.inputs))}"
    if unknown := [name for name in names if name not in known]:
        return f"input {unknown[0]!r} is unknown; {takes}"
    if twice := [name for name in names if names.count(name) > 1]:
        return f"input {twice[0]!r} is given twice; {takes}"
    missing = [name for name in known if name not in names]
    return f"input {missing[0]!r} is missing; {takes}"


def _checked_shape(tensor: pb.ModelInferRequest.InferInputTensor, spec: TensorSpec, any_rows: bool) -> tuple[int, ...]:
    """Not yet whether its sizes are possible: reading the tensor tells."""
    if tensor.parameters:
        _refuse(_REFUSED_TENSOR, tensor.parameters, f"input {tensor.name!r}")
    if tensor.datatype != spec.datatype:
        raise BadTensor(f"input {tensor.name!r} is {tensor.datatype[:40]}, the model takes {spec.datatype}")
    shape = tuple(tensor.shape)
    if not spec.accepts(shape, any_rows):
        takes = list(spec.shape or ())
        raise BadTensor(f"input {tensor.name!r} has shape {list(shape)}, the model takes {takes}")
    return shape


def _refuse(names: frozenset[str], parameters: Mapping[str, pb.InferParameter], where: str) -> None:
    if found := sorted(names & set(parameters)):
        raise Unsupported(f"{where} carries {', '.join(found)}, an extension that this server does not have")
