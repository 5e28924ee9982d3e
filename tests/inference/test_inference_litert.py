"""LiteRT: batches, quantised tensors, failures in the graph, and how many interpreters there are."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from oip_requests import MODELS

from workers.inference.errors import BadTensor, InferenceFailed, ModelLoadFailed
from workers.inference.litert import LiteRtModel
from workers.inference.runtime import TensorSpec, format_of

WEIGHTS = np.array([[1, -1, 0.5], [0.25, 2, -2], [-0.5, 0.125, 1], [3, -0.75, 0.0625]], np.float32)
ROWS = np.random.default_rng(5).uniform(-1, 1, (7, 4)).astype(np.float32)


def model(name, **options):
    return LiteRtModel(MODELS / f"{name}.tflite", **options)


@pytest.mark.parametrize("name", ["dense", "dense_fixed"])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_every_batch_is_answered_also_by_a_file_fixed_to_one_row(name, rows):
    score, best = model(name).run({"x": ROWS[:rows]}, ["score", "best"])
    np.testing.assert_allclose(score, ROWS[:rows] @ WEIGHTS, rtol=1e-5, atol=1e-6)
    assert best.tolist() == np.argmax(ROWS[:rows] @ WEIGHTS, axis=1).tolist()


def test_only_a_file_fixed_to_one_row_is_run_row_by_row():
    assert model("dense_fixed").description.row_by_row
    assert not model("dense").description.row_by_row
    assert not model("text").description.row_by_row


def test_quantised_tensors_pass_in_their_own_type():
    quantised = model("dense_int8")
    assert quantised.description.inputs == (TensorSpec("x", "INT8", (-1, 4)),)
    (score,) = quantised.run({"x": np.array([[127, -128, 0, 5]], np.int8)}, ["score"])
    assert (score.dtype, score.shape) == (np.int8, (1, 3))
    assert score[0, 1] < score[0, 2]


def test_shapes_that_do_not_fit_together_are_the_callers_fault_and_the_model_goes_on():
    two = model("two", interpreters=1)
    left, right = np.ones((2, 2), np.float32), np.ones((3, 2), np.float32)
    for _ in range(3):
        with pytest.raises(BadTensor, match=r"shapes together: left \[2, 2\], right \[3, 2\]"):
            two.run({"left": left, "right": right}, ["sum"])
        assert two.run({"left": left, "right": left}, ["sum"])[0].tolist() == [[2, 2], [2, 2]]


def test_a_failure_in_the_graph_is_one_line_and_the_model_goes_on():
    lookup = model("lookup", interpreters=1)
    for _ in range(3):
        with pytest.raises(InferenceFailed, match=r"'lookup.tflite' failed while it ran: gather index out of bounds"):
            lookup.run({"index": np.array([1, 9], np.int32)}, ["value"])
        assert lookup.run({"index": np.array([1, 2], np.int32)}, ["value"])[0].tolist() == [20, 30]


def test_outputs_belong_to_the_caller():
    dense = model("dense", interpreters=1)
    (first,) = dense.run({"x": ROWS[:1]}, ["score"])
    kept = first.copy()
    dense.run({"x": ROWS[1:2]}, ["score"])
    np.testing.assert_array_equal(first, kept)


def test_callers_in_many_threads_get_their_own_answers():
    dense = model("dense", interpreters=2)
    start = threading.Barrier(8)

    def call(index):
        start.wait(20)
        rows = ROWS[: 1 + index % 7]
        for _ in range(200):
            (score,) = dense.run({"x": rows}, ["score"])
            np.testing.assert_allclose(score, rows @ WEIGHTS, rtol=1e-5, atol=1e-6)

    with ThreadPoolExecutor(8) as callers:
        list(callers.map(call, range(8)))
    assert sum(worker.interpreter is not None for worker in dense._workers) <= 2


def test_one_caller_needs_one_interpreter():
    dense = model("dense")
    for rows in (1, 2, 3):
        dense.run({"x": ROWS[:rows]}, ["score"])
    assert sum(worker.interpreter is not None for worker in dense._workers) == 1


@pytest.mark.parametrize("content", [b"", b"not a model", (MODELS / "dense.tflite").read_bytes()[:-400]])
def test_what_is_no_model_is_refused(tmp_path, content):
    (tmp_path / "x.tflite").write_bytes(content)
    with pytest.raises(ModelLoadFailed, match=r"x\.tflite does not load: .*whole \.tflite file"):
        LiteRtModel(tmp_path / "x.tflite")


def test_the_format_is_seen_from_the_path(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "saved_model.pb").touch()
    (tmp_path / "x.tar").touch()
    (tmp_path / "x.onnx").touch()
    found = [format_of(path) for path in (MODELS / "dense.tflite", tmp_path / "folder", tmp_path / "x.tar")]
    assert found == ["tflite", "savedmodel", "savedmodel.tar"]
    for path in (tmp_path / "x.onnx", tmp_path / "absent.tflite", tmp_path):
        with pytest.raises(ModelLoadFailed, match=r"give a \.tflite file"):
            format_of(path)
