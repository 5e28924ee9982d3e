"""Unmodified public clients, each in its own environment, and their protos against ours, field by field."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

HERE = Path(__file__).parent
# Where the public protos differ from each other (the Open Inference Protocol's repository against Triton and KServe),
# ours has the field: clients without it skip it.
OURS_ONLY = {
    "tritonclient": {
        "ModelMetadataResponse.properties",
        "ModelMetadataResponse.PropertiesEntry.key",
        "ModelMetadataResponse.PropertiesEntry.value",
    },
    "kserve": {
        "InferParameter.double_param",
        "InferParameter.uint64_param",
        "ModelMetadataResponse.properties",
        "ModelMetadataResponse.PropertiesEntry.key",
        "ModelMetadataResponse.PropertiesEntry.value",
    },
}
# Methods that only their servers have; here gRPC answers UNIMPLEMENTED.
THEIRS_ONLY = {"tritonclient": {"ModelStreamInfer", "RepositoryIndex"}, "kserve": {"RepositoryModelLoad"}}
MODULES = {"tritonclient": "tritonclient.grpc.service_pb2", "kserve": "kserve.protocol.grpc.grpc_predict_v2_pb2"}
CLIENTS = sorted(MODULES)


def output_of(python: str, script: str, *arguments: str) -> str:
    done = subprocess.run(
        [python, str(HERE / script), *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("client", CLIENTS)
def test_an_unmodified_client_is_answered(client, client_python, server):
    assert output_of(client_python(client), f"{client}_script.py", server.address).splitlines()[-1] == "ok"


@pytest.mark.parametrize("client", CLIENTS)
def test_the_wire_is_theirs_field_by_field(client, client_python):
    theirs = json.loads(output_of(client_python(client), "wire_script.py", MODULES[client]))
    ours = json.loads(output_of(sys.executable, "wire_script.py", "protos.inference.v2.inference_pb2"))
    assert theirs["package"] == ours["package"] == "inference"
    assert {name: ours["methods"][name] for name in ours["methods"]} == {
        name: theirs["methods"][name] for name in ours["methods"]
    }
    assert THEIRS_ONLY[client] <= theirs["methods"].keys() - ours["methods"].keys()
    assert ours["fields"].keys() - theirs["fields"].keys() == OURS_ONLY[client]
    shared = ours["fields"].keys() & theirs["fields"].keys()
    assert len(shared) > 50
    assert {name: ours["fields"][name] for name in shared} == {name: theirs["fields"][name] for name in shared}
    ours_messages = {name.rpartition(".")[0] for name in ours["fields"]}
    missing = {name for name in theirs["fields"].keys() - shared if name.rpartition(".")[0] in ours_messages}
    assert missing == set()
