"""model push and list; infer and serve on the real inference server with a real model."""

import hashlib
import http.server
import json
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from orchestrator.cli.packing import packed_model
from orchestrator.errors import InvalidRequest
from tests.api.fake_control import RunningControl, running_control
from tests.cli.conftest import Skerry
from workers.inference.serve import load_files
from workers.inference.server import InferenceServer

DIGITS = Path(__file__).parents[1] / "models" / "digits-fp32.tflite"


@pytest.fixture
def saved_model(tmp_path: Path) -> Path:
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return folder


@pytest.mark.real
def test_push_a_tflite_file(skerry: Skerry, running: RunningControl) -> None:
    ran = skerry("model", "push", "digits", str(DIGITS), "--accuracy", "0.97", "-n", "plant-7")
    assert ran.code == 0, ran.err
    model, content = running.control.pushed[0]
    digest = f"sha256:{hashlib.sha256(DIGITS.read_bytes()).hexdigest()}"
    assert content == DIGITS.read_bytes()
    assert (model.format, model.digest, model.accuracy, model.namespace) == ("tflite", digest, 0.97, "plant-7")
    assert ran.out == f"modelversion/digits-{digest[7:15]} registered, {digest}\n"
    listed = skerry("model", "list", "-n", "plant-7").out.splitlines()
    assert listed[0].split()[:3] == ["NAME", "MODEL", "VARIANTS"]
    assert listed[1].split()[:2] == [f"digits-{digest[7:15]}", "digits"]


@pytest.mark.real
def test_push_a_saved_model_folder_as_a_tar(skerry: Skerry, running: RunningControl, saved_model: Path) -> None:
    ran = skerry("model", "push", "digits", str(saved_model), "-o", "json")
    assert json.loads(ran.out)["kind"] == "ModelVersion"
    model, content = running.control.pushed[0]
    assert (model.format, model.accuracy, len(content)) == ("savedmodel.tar", None, model.size_bytes)


def test_the_same_folder_is_the_same_bytes_whenever_and_wherever(saved_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for path in sorted(saved_model.rglob("*"), reverse=True):  # written in another order, later, with other modes
        if path.is_file():
            target = copy / path.relative_to(saved_model)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
            target.chmod(0o600)
    with packed_model(saved_model) as first, packed_model(copy) as second:
        assert first.digest == second.digest
        with tarfile.open(first.path) as tar:
            assert tar.getnames() == ["saved_model.pb", "variables", "variables/variables.index"]
    assert not first.path.exists()
    (copy / "saved_model.pb").write_bytes(b"grapH")
    with packed_model(copy) as third:
        assert third.digest != first.digest


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none", None, "no such file or folder"),
        ("text.tflite", b"not a model at all", "is no TensorFlow Lite model"),
        ("empty.tflite", b"", "is no TensorFlow Lite model"),
        (".", None, "holds no saved_model.pb"),
    ],
)
def test_what_is_no_model_is_refused_before_it_is_sent(
    skerry: Skerry, running: RunningControl, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    ran = skerry("model", "push", "m", str(tmp_path / name))
    assert (ran.code, message in ran.err) == (1, True)
    assert running.control.pushed == []


@pytest.mark.real
def test_what_the_control_plane_refuses_is_named_by_its_own_path(skerry: Skerry, running: RunningControl) -> None:
    def refuse(call: str) -> None:
        raise InvalidRequest("format", "tflite", "the model does not load")

    running.control.before = refuse
    ran = skerry("model", "push", "m", str(DIGITS))
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == f"skerry: {DIGITS} was refused: format: 'tflite': the model does not load"


@pytest.mark.real
def test_a_link_in_a_saved_model_is_refused(skerry: Skerry, running: RunningControl, saved_model: Path) -> None:
    (saved_model / "extra").symlink_to("/etc/hostname")
    ran = skerry("model", "push", "m", str(saved_model))
    assert (ran.code, "neither a file nor a folder" in ran.err) == (1, True)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The real server with the digits model; a gateway would add who served it."""
    server = InferenceServer(load_files([("digits", DIGITS)]))
    server.start()
    monkeypatch.setenv("SKERRY_GATEWAY", server.address)
    yield server.address
    server.stop()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.npy"
    np.save(path, np.zeros((2, 8, 8, 1), np.float64))
    return path


@pytest.mark.real
def test_infer_from_a_file_and_from_json(skerry: Skerry, gateway: str, image: Path) -> None:
    ran = skerry("infer", "digits", "--input", f"image={image}")
    assert ran.code == 0, ran.err
    assert re.match(r"\w+ \[2, 10\]: 0\.", ran.out)
    assert re.search(r"\nserved by .*, version 1, decision .*, \d+\.\d\d ms\n", ran.out)
    unnamed = skerry("infer", "digits", "-i", str(image), "-o", "json")
    found = json.loads(unnamed.out)
    (output,) = found["outputs"].values()
    assert (output["shape"], len(output["data"])) == ([2, 10], 20)
    typed = skerry("infer", "digits", "-i", json.dumps(np.zeros((1, 8, 8, 1)).tolist()))
    assert typed.code == 0, typed.err


@pytest.mark.real
def test_infer_often_prints_percentiles(skerry: Skerry, gateway: str, image: Path) -> None:
    ran = skerry("infer", "digits", "-i", str(image), "--repeat", "20")
    assert re.search(r"20 calls: p50 [\d.]+ ms, p95 [\d.]+ ms, p99 [\d.]+ ms; .* 20\n", ran.out)


@pytest.mark.real
@pytest.mark.parametrize(
    ("inputs", "code", "message"),
    [
        ([], 2, "no --input for image: the model takes image (FP32"),
        (["pixels=[1]"], 2, "no input of that name"),
        (["[1]", "[1]"], 2, "given twice"),
        (["image=nowhere.npy"], 1, "no such file"),
        (["image=[1, 2"], 1, "cannot be read as FP32"),
        (['image=["a"]'], 1, "cannot be read as FP32"),
        (["image=[1.0, 2.0]"], 1, "digits: "),
    ],
)
def test_a_bad_input_says_what_the_model_takes(
    skerry: Skerry, gateway: str, inputs: list[str], code: int, message: str
) -> None:
    ran = skerry("infer", "digits", *(part for one in inputs for part in ("--input", one)))
    assert (ran.code, message in ran.err) == (code, True), ran.err


@pytest.mark.real
def test_a_wrong_shape_names_both_and_an_unknown_service_the_way_to_the_list(
    skerry: Skerry, gateway: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "flat.npy", np.zeros((1, 63), np.float32))
    ran = skerry("infer", "digits", "-i", str(tmp_path / "flat.npy"))
    assert (ran.code, "63" in ran.err, "8" in ran.err) == (1, True, True)
    unknown = skerry("infer", "nobody", "-i", str(tmp_path / "flat.npy"))
    assert unknown.code == 1
    assert f"nobody at {gateway}: model 'nobody' is not served here; this server serves 'digits'" in unknown.err
    assert "check the name and -n NAMESPACE: `skerry get services -A`" in unknown.err


class Deaf(http.server.BaseHTTPRequestHandler):
    """Speaks HTTP/1, to nobody's log."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def web_server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Deaf) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def mute_server() -> Iterator[str]:
    """Connects, and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def closed_port() -> Iterator[str]:
    with socket.socket() as bound:  # bound, not listening: nobody else takes it meanwhile
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def other_service() -> Iterator[str]:
    with running_control() as control:
        yield control.address


@pytest.mark.real
@pytest.mark.parametrize(
    ("server", "said"),
    [
        (closed_port, "no gateway answers at {}: nothing listens there: "),
        (web_server, "no gateway answers at {}: what listens there does not speak gRPC: "),
        (other_service, "what listens at {} does not speak the Open Inference Protocol: "),
        (mute_server, "digits at {}: no answer within 0.3 s: "),
    ],
)
def test_a_wrong_gateway_is_named_with_what_would_help(
    skerry: Skerry, server: Callable[[], AbstractContextManager[str]], said: str
) -> None:
    with server() as address:
        ran = skerry("infer", "digits", "-i", "[1]", "--gateway", address, "--timeout", "0.3")
    assert ran.code == 1
    assert ran.err.startswith(f"skerry: {said.format(address)}"), ran.err
    assert all(word in ran.err for word in ("`skerry up`", "--gateway", "`skerry status`"))


@pytest.mark.real
def test_a_pickle_is_not_loaded(skerry: Skerry, gateway: str, tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    ran = skerry("infer", "digits", "-i", str(tmp_path / "evil.npy"))
    assert (ran.code, "cannot be read" in ran.err) == (1, True)


@pytest.mark.real
def test_serve_answers_until_it_is_interrupted(skerry: Skerry, image: Path) -> None:
    command = [sys.executable, "-c", "import sys; from orchestrator.cli.main import main; sys.exit(main())"]
    with subprocess.Popen(
        [*command, "serve", f"digits={DIGITS}", "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        address = next(line.split()[2] for line in process.stdout if line.startswith("serving on "))
        assert skerry("infer", "digits", "-i", str(image), "--gateway", address).code == 0
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


@pytest.mark.real
def test_serve_refuses_what_it_cannot_serve(skerry: Skerry, gateway: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"junk")
    ran = skerry("serve", f"a={bad}", "--port", "0")
    assert (ran.code, str(bad) in ran.err) == (1, True)
    busy = skerry("serve", f"a={DIGITS}", "--port", gateway.rpartition(":")[2])
    assert busy.code == 1
    assert skerry("serve", f"a={DIGITS}", "--host", "0.0.0.0").code == 1
