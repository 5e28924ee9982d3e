"""Requests as a client would write them, and answers as it would read them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from protos.inference.v2 import inference_pb2 as pb
from workers.inference.dataplane import DataPlane, ModelSource
from workers.inference.tensors import datatype_of, fill_typed, raw_of

MODELS = Path(__file__).parent / "models"
INFER = "/inference.GRPCInferenceService/ModelInfer"
ONES = np.ones((2, 4), np.float32)


def source(name: str, model: str | None = None, **fields: object) -> ModelSource:
    """One of the checked-in models under `name`."""
    given = {"version": "1", "path": MODELS / f"{model or name}.tflite", "format": "tflite", **fields}
    return ModelSource(name=name, **given)


def plane_with(*names: str) -> DataPlane:
    plane = DataPlane()
    for name in names:
        plane.load(source(name))
    return plane


def request(
    model: str, inputs: Mapping[str, npt.NDArray], raw: bool = True, outputs: Sequence[str] = (), **fields: str
) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model, **fields)
    for name, array in inputs.items():
        datatype = datatype_of(array.dtype)
        tensor = message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        if raw:
            message.raw_input_contents.append(bytes(raw_of(array, datatype)))
        else:
            fill_typed(tensor.contents, array, datatype)
    for name in outputs:
        message.outputs.add(name=name)
    return message


def infer(plane: DataPlane, message: pb.ModelInferRequest, **metadata: str) -> pb.ModelInferResponse:
    keyed = {key.replace("_", "-"): value for key, value in metadata.items()}
    return pb.ModelInferResponse.FromString(plane.handle(INFER, message.SerializeToString(), keyed).payload)


def floats(answer: pb.ModelInferResponse, name: str) -> npt.NDArray[np.float32]:
    """An FP32 output, in whichever form it came."""
    index = [output.name for output in answer.outputs].index(name)
    output = answer.outputs[index]
    assert output.datatype == "FP32"
    if answer.raw_output_contents:
        return np.frombuffer(answer.raw_output_contents[index], "<f4").reshape(output.shape)
    return np.array(output.contents.fp32_contents, "<f4").reshape(output.shape)
