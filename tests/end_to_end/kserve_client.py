"""An unmodified KServe inference client in its own environment. Prints the answered digits as JSON."""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest


async def main(address: str, service: str, images_path: str) -> None:
    images = np.load(images_path)["images"][:20]
    client = InferenceGRPCClient(address)
    digits = []
    for image in images:
        tensor = InferInput("image", [1, 8, 8, 1], "FP32")
        tensor.set_data_from_numpy(image[None])
        answer = await client.infer(InferRequest(model_name=service, infer_inputs=[tensor]))
        digits.append(int(answer.outputs[0].as_numpy().argmax()))
    await client.close()
    print(json.dumps(digits))


asyncio.run(main(*sys.argv[1:]))
