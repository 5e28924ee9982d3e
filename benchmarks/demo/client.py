"""An unmodified tritonclient in a process of its own: it knows nothing of Skerry but an address and a name.

`accuracy`: every image once, one after the other. `load`: several callers at a fixed rate. Prints one JSON object.
"""

import argparse
import json
import threading
import time
from collections import Counter

import numpy as np
import tritonclient.grpc as triton


def one_call(
    client: triton.InferenceServerClient, service: str, image: np.ndarray, timeout_s: float
) -> tuple[int, str]:
    """The digit and who answered."""
    tensor = triton.InferInput("image", [1, 8, 8, 1], "FP32")
    tensor.set_data_from_numpy(image[None])
    answer = client.infer(service, [tensor], client_timeout=timeout_s)
    digit = int(answer.as_numpy("probabilities")[0].argmax())
    return digit, answer.get_response().parameters["skerry_site"].string_param


def quantiles(took_ms: list[float]) -> dict[str, float]:
    return {f"p{q}_ms": round(float(np.percentile(took_ms, q)), 2) for q in (50, 99)} if took_ms else {}


def accuracy(address: str, service: str, images: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    client = triton.InferenceServerClient(address)
    right, took_ms, sites = 0, [], Counter()
    for image, label in zip(images, labels, strict=True):
        start_s = time.perf_counter()
        digit, site = one_call(client, service, image, 5.0)
        took_ms.append((time.perf_counter() - start_s) * 1000)
        right += digit == label
        sites[site] += 1
    return {"calls": len(labels), "accuracy": right / len(labels), "sites": dict(sites), **quantiles(took_ms)}


def load(
    address: str, service: str, images: np.ndarray, callers: int, rate_rps: float, seconds: float
) -> dict[str, object]:
    """Open loop: call n is due at n / rate, whichever caller is free takes it."""
    lock, due = threading.Lock(), iter(range(int(rate_rps * seconds)))
    took_ms, sites, failures = [], Counter(), Counter()
    begin_s = time.perf_counter() + 0.2

    def caller() -> None:
        client = triton.InferenceServerClient(address)
        while True:
            with lock:
                n = next(due, None)
            if n is None:
                return
            time.sleep(max(0.0, begin_s + n / rate_rps - time.perf_counter()))
            start_s = time.perf_counter()
            try:
                _, site = one_call(client, service, images[n % len(images)], 5.0)
            except triton.InferenceServerException as err:
                with lock:
                    failures[f"{err.status()}: {err.message()}"[:160]] += 1
            else:
                with lock:
                    took_ms.append((time.perf_counter() - start_s) * 1000)
                    sites[site] += 1

    threads = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed_s = time.perf_counter() - begin_s
    answered = len(took_ms)
    return {
        "calls": answered + sum(failures.values()),
        "lost": sum(failures.values()),
        "failures": dict(failures),
        "rate_rps": round(answered / elapsed_s, 1),
        "sites": dict(sites),
        **quantiles(took_ms),
        "slowest_ms": round(max(took_ms, default=0.0), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["accuracy", "load"])
    parser.add_argument("--address", required=True)
    parser.add_argument("--service", default="digits")
    parser.add_argument("--images", required=True, help=".npz with images [n,8,8,1] FP32 and labels [n]")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--rate-rps", type=float, default=250.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    data = np.load(arguments.images)
    if arguments.mode == "accuracy":
        found = accuracy(arguments.address, arguments.service, data["images"], data["labels"])
    else:
        found = load(
            arguments.address,
            arguments.service,
            data["images"],
            arguments.callers,
            arguments.rate_rps,
            arguments.seconds,
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
