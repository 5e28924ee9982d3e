"""`python -m tests.testbed.caller ADDRESS SERVICE ...`: a caller of the digits model, wherever it is started.

Open loop: call n is due at n / rate. Prints one JSON object with, of each call, when it was due, how long its answer
took from then, and what became of it. `--until-answered`: one call again and again until it is answered.
"""

import argparse
import json
import threading
import time

import grpc
import numpy as np

from protos.inference.v2 import inference_pb2 as oip

INFER = "/inference.GRPCInferenceService/ModelInfer"
TIMEOUT_S = 5.0
AGAIN_S = 0.02


def request(service: str) -> bytes:
    image = np.zeros((1, 8, 8, 1), np.float32)
    tensor = oip.ModelInferRequest.InferInputTensor(name="image", datatype="FP32", shape=image.shape)
    message = oip.ModelInferRequest(model_name=service, inputs=[tensor], raw_input_contents=[image.tobytes()])
    return message.SerializeToString()


def _infer(channel: grpc.Channel) -> "grpc.UnaryUnaryMultiCallable[bytes, bytes]":
    return channel.unary_unary(INFER)


def until_answered(address: str, service: str, limit_s: float) -> dict[str, object]:
    payload, end_s, tries = request(service), time.monotonic() + limit_s, 0
    while True:
        tries += 1
        try:
            with grpc.insecure_channel(address) as channel:
                _infer(channel)(payload, timeout=TIMEOUT_S)
            return {"answered_at_s": time.monotonic(), "tries": tries}
        except grpc.RpcError as err:
            if time.monotonic() > end_s:
                return {"answered_at_s": None, "tries": tries, "said": f"{err.code().name}: {err.details()}"}
        time.sleep(AGAIN_S)


def load(address: str, service: str, callers: int, rate_rps: float, calls: int) -> dict[str, object]:
    payload, lock, numbers = request(service), threading.Lock(), iter(range(calls))
    made: list[tuple[float, float, str]] = []
    begin_s = time.monotonic() + 0.2

    def caller() -> None:
        with grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
            infer = _infer(channel)
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                due_s = begin_s + number / rate_rps
                time.sleep(max(0.0, due_s - time.monotonic()))
                said = "OK"
                try:
                    infer(payload, timeout=TIMEOUT_S)
                except grpc.RpcError as err:
                    said = f"{err.code().name}: {err.details()}"
                made.append((due_s, time.monotonic() - due_s, said))

    print("calling", flush=True)
    threads = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"calls": sorted(made)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("service")
    parser.add_argument("--until-answered", type=float, metavar="LIMIT_S")
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--rate-rps", type=float, default=200.0)
    parser.add_argument("--calls", type=int, default=1000)
    given = parser.parse_args()
    if given.until_answered:
        print(json.dumps(until_answered(given.address, given.service, given.until_answered)))
    else:
        print(json.dumps(load(given.address, given.service, given.callers, given.rate_rps, given.calls)))


if __name__ == "__main__":
    main()
