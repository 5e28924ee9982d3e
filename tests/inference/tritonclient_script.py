"""Runs in tritonclient's own environment: `tritonclient_script.py HOST:PORT`. Prints "ok" when all held."""

import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

ONES = np.ones((2, 4), np.float32)
SCORE = [[3.75, 0.375, -0.4375]] * 2


def tensor(name, array, datatype):
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def refused(client, code, said, model, inputs, **options):
    err = error_of(client, model, inputs, **options)
    assert code in err.status(), err
    assert said in err.message(), err


def error_of(client, model, inputs, **options):
    try:
        client.infer(model, inputs, **options)
    except InferenceServerException as err:
        return err
    raise AssertionError(f"{model} {options} was answered")


def main(address):
    with triton.InferenceServerClient(address, keepalive_options=triton.KeepAliveOptions(10_000)) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("dense")
        assert client.is_model_ready("dense", "1")
        assert not client.is_model_ready("dense", "2")
        assert not client.is_model_ready("nope")
        assert client.get_server_metadata(as_json=True)["name"] == "skerry"
        metadata = client.get_model_metadata("dense", as_json=True)
        assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}], metadata

        result = client.infer("dense", [tensor("x", ONES, "FP32")], request_id="call-7", client_timeout=20)
        assert result.as_numpy("score").tolist() == SCORE
        assert result.as_numpy("best").tolist() == [0, 0]
        assert result.get_response().id == "call-7"
        wanted, headers = [triton.InferRequestedOutput("best")], {"skerry-namespace": "default"}
        result = client.infer("dense", [tensor("x", ONES, "FP32")], outputs=wanted, headers=headers)
        assert result.as_numpy("score") is None
        text = np.array([b"ab\0", "\N{SNOWMAN}".encode()], object)
        assert client.infer("text", [tensor("text", text, "BYTES")]).as_numpy("again").tolist() == [text.tolist()]
        int8 = client.infer("dense_int8", [tensor("x", np.ones((1, 4), np.int8), "INT8")]).as_numpy("score")
        assert (int8.dtype, int8.shape) == (np.int8, (1, 3))

        inputs = [tensor("x", ONES, "FP32")]
        refused(client, "NOT_FOUND", "this server serves 'dense'", "nope", inputs)
        refused(client, "NOT_FOUND", "version '9'", "dense", inputs, model_version="9")
        refused(
            client, "INVALID_ARGUMENT", "[2, 3], the model takes [-1, 4]", "dense", [tensor("x", ONES[:, :3], "FP32")]
        )
        refused(client, "UNIMPLEMENTED", "sequence_id", "dense", inputs, sequence_id=7)
    print("ok")


main(sys.argv[1])
