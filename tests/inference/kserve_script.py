"""Runs in kserve's own environment: `kserve_script.py HOST:PORT`. Prints "ok" when all held."""

import asyncio
import sys

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

ONES = np.ones((2, 4), np.float32)


def request(model, binary):
    tensor = InferInput("x", list(ONES.shape), "FP32")
    tensor.set_data_from_numpy(ONES, binary_data=binary)
    return InferRequest(model_name=model, infer_inputs=[tensor], request_id="call-7")


async def code_of(call):
    try:
        await call
    except grpc.RpcError as err:
        return err.code()
    return grpc.StatusCode.OK


async def main(address):
    client = InferenceGRPCClient(address, timeout=20)
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("dense")
    for binary in (True, False):  # raw and typed contents
        answer = await client.infer(request("dense", binary))
        assert answer.id == "call-7"
        outputs = {output.name: output.as_numpy().tolist() for output in answer.outputs}
        assert outputs == {"best": [0, 0], "score": [[3.75, 0.375, -0.4375]] * 2}, outputs
    assert await code_of(client.infer(request("nope", True))) is grpc.StatusCode.NOT_FOUND
    print("ok")


asyncio.run(main(sys.argv[1]))
