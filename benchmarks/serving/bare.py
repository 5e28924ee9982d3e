"""The baseline: the least Python that answers ModelInfer. `python -m benchmarks.serving.bare FOLDER`.

gRPC, a pool of eight threads, handlers of bytes, one interpreter per thread, an answer whose head is built once. It
checks nothing, knows no versions and no errors: what our server adds to it is the price of being one.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmarks.serving.models import SHAPES
from protos.inference.v2 import inference_pb2 as pb

SERVICE = "inference.GRPCInferenceService"


class Model:
    def __init__(self, path: Path) -> None:
        self.interpreter = Interpreter(model_path=str(path), num_threads=1)
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.output = self.interpreter.get_output_details()[0]["index"]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.interpreter.set_tensor(self.input, x)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output)


def main(folder: Path) -> None:
    of_thread = threading.local()
    heads = {}
    for name, shape in SHAPES.items():
        answer = Model(folder / f"{name}.tflite")(np.zeros(shape, np.float32))
        head = pb.ModelInferResponse(model_name=name)
        head.outputs.add(name="y", datatype="FP32", shape=answer.shape)
        heads[name] = head.SerializeToString() + bytes((0x32, answer.nbytes))

    def infer(payload: bytes, context: grpc.ServicerContext) -> bytes:
        models = getattr(of_thread, "models", None)
        if models is None:
            models = of_thread.models = {name: Model(folder / f"{name}.tflite") for name in SHAPES}
        request = pb.ModelInferRequest.FromString(payload)
        name = request.model_name
        x = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(SHAPES[name])
        return heads[name] + models[name](x).tobytes()

    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    handlers = {"ModelInfer": grpc.unary_unary_rpc_method_handler(infer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"serving on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
