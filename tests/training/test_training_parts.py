"""Split, spec, checkpoints, files and verdicts: no process, no TensorFlow."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from workers.training import checkpoints, reports
from workers.training.checkpoints import Checkpoint
from workers.training.digits import Pixels, image_hash, load_digits, split_by_content
from workers.training.digits_cnn import batches, steps_per_epoch
from workers.training.job import finished, prepare
from workers.training.reports import Progress, Reporter, read_log, read_progress
from workers.training.result import TrainingResult, judge, save_result
from workers.training.spec import SpecRefused, TrainingSpec, parse_spec
from workers.training.variants import evaluation

# 2 x 2 pixels of two shades: most drawings repeat one, which is what the split must get right.
SMALL_IMAGES = arrays.arrays(
    np.uint8, st.tuples(st.integers(0, 40), st.just(2), st.just(2)), elements=st.integers(0, 1)
)


DIGITS = load_digits()


@given(SMALL_IMAGES)
def test_equal_images_are_on_one_side_and_none_is_lost(images: Pixels) -> None:
    split = split_by_content(images, np.arange(len(images)), test_share=0.5)
    train, test = ({image.tobytes() for image in side.images} for side in (split.train, split.test))
    assert not train & test
    assert sorted([*split.train.labels, *split.test.labels]) == list(range(len(images)))
    assert split.duplicates == len(images) - len({image.tobytes() for image in images})
    for side in (split.train, split.test):
        assert side.hashes == tuple(image_hash(image) for image in side.images)


def test_the_digits_are_1797_real_images_of_which_none_is_on_both_sides() -> None:
    split = DIGITS
    assert len(split.train) + len(split.test) == 1797
    assert 0.15 < len(split.test) / 1797 < 0.25
    train, test = ({image.tobytes() for image in side.images} for side in (split.train, split.test))
    assert not train & test
    assert set(split.test.labels) == set(range(10))
    assert split.train.images.shape[1:] == (8, 8, 1)
    assert split.train.images.max() == 16


@given(st.integers(1, 7), st.integers(7, 600), st.integers(0, 3), st.integers(0, 5))
def test_the_workers_shares_of_a_batch_are_the_batch_of_one_worker(
    workers: int, batch_size: int, seed: int, epoch: int
) -> None:
    train = DIGITS.train
    spec = TrainingSpec("m", workers=workers, batch_size=batch_size, seed=seed)
    alone = TrainingSpec("m", workers=1, batch_size=batch_size, seed=seed)
    shares = [list(batches(train, spec, epoch, rank)) for rank in range(workers)]
    for step, (images, labels) in enumerate(batches(train, alone, epoch, 0)):
        together = sorted(image.tobytes() for share in shares for image in share[step][0])
        assert together == sorted(image.tobytes() for image in images)
        assert sorted(int(label) for share in shares for label in share[step][1]) == sorted(labels.tolist())
    assert {len(share) for share in shares} == {steps_per_epoch(len(train), spec)}


def test_a_spec_survives_its_json() -> None:
    spec = TrainingSpec("digits", workers=2, seed=7, variants=("litert-int8",))
    assert parse_spec(spec.to_json()) == spec
    assert parse_spec('{"model": "m", "learning_rate": 1}').learning_rate == 1.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epochs": 0}, "epochs: 0: give 1 to 1000"),
        ({"epochs": "5"}, "epochs: '5': give a int"),
        ({"workers": True}, "workers: True: give a int"),
        ({"recipe": "resnet"}, "recipe: 'resnet': use one of digits-cnn"),
        ({"data": {"source": "mnist"}}, "data.source: 'mnist': use one of sklearn-digits"),
        ({"gate": {"accuracy_min": 2}}, "gate.accuracy_min: 2.0: give a share between 0 and 1"),
        ({"gate": {"loss": 2}}, "gate.loss: 2: unknown; a gate has accuracy_min"),
        ({"variants": ["savedmodel"]}, "variants: 'savedmodel': use some of litert-fp32, litert-fp16, litert-int8"),
        ({"variants": []}, "variants: (): name at least one"),
        ({"batch_size": 1, "workers": 2}, "batch_size: 1: give at least a row to each of 2 workers"),
        ({"learningrate": 1}, "learningrate: 1: unknown; a spec has model, recipe, data, "),
        ({"model": ""}, "model: '': give the name of the model to train"),
    ],
)
def test_a_bad_field_is_refused_by_name_value_and_remedy(change: dict[str, object], told: str) -> None:
    with pytest.raises(SpecRefused) as raised:
        parse_spec(json.dumps({"model": "digits"} | change))
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"recipe": "digits-cnn"}'])
def test_what_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(SpecRefused):
        parse_spec(text)


def _checkpoint(epochs_done: int) -> Checkpoint:
    weights = tuple(np.full((2, count), epochs_done + count, np.float32) for count in range(12))
    return Checkpoint(epochs_done, weights, (np.int64(epochs_done) * np.ones((), np.int64), *weights))


def test_the_newest_whole_checkpoint_is_taken_and_older_ones_go(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path) is None
    for epoch in range(1, 5):
        checkpoints.save(tmp_path, _checkpoint(epoch))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["epoch-0003.npz", "epoch-0004.npz"]
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.epochs_done == 4
    assert found.weights_digest == _checkpoint(4).weights_digest != _checkpoint(3).weights_digest
    for mine, theirs in zip(found.optimizer, _checkpoint(4).optimizer, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@given(st.integers(0, 4000), st.booleans())
def test_a_torn_checkpoint_is_passed_over(cut: int, zeroed: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoints.save(folder, _checkpoint(1))
        newest = checkpoints.save(folder, _checkpoint(2))
        whole = newest.read_bytes()
        cut %= len(whole)
        newest.write_bytes(whole[:cut] + (b"\0" * (len(whole) - cut) if zeroed else b""))
        found = checkpoints.newest(folder)
        assert found is not None
        assert found.epochs_done == 1


def test_log_lines_are_read_once_and_only_when_whole(tmp_path: Path) -> None:
    assert read_log(tmp_path, 0) == ([], 0)
    reporter = Reporter(tmp_path)
    reporter.log("first")
    lines, offset = read_log(tmp_path, 0)
    assert [line.split(" ", 1)[1] for line in lines] == ["first"]
    with (tmp_path / reports.LOG).open("a") as file:
        file.write("half of ")
    assert read_log(tmp_path, offset) == ([], offset)
    with (tmp_path / reports.LOG).open("a") as file:
        file.write("a line\n")
    assert read_log(tmp_path, offset)[0] == ["half of a line"]


def test_a_forced_progress_is_written_however_soon(tmp_path: Path) -> None:
    reporter = Reporter(tmp_path, per_s=0.001)
    reporter.progress(Progress("running", 1, 9, "", {"loss": 2.0}), force=True)
    reporter.progress(Progress("running", 2, 9, "", {}))
    assert read_progress(tmp_path) == Progress("running", 1, 9, "", {"loss": 2.0})
    reporter.progress(Progress("running", 9, 9, "", {}), force=True)
    assert read_progress(tmp_path) == Progress("running", 9, 9, "", {})


def test_the_gate_tells_both_numbers() -> None:
    assert judge(0.9, 0.9).passed
    refused = judge(0.89996, 0.9)
    assert not refused.passed
    assert refused.reason == "test accuracy 0.89996 is below the gate's accuracy_min 0.9"


def test_the_confusion_counts_label_by_answer() -> None:
    found = evaluation([0, 0, 3], np.array([0, 5, 3]))
    assert found.accuracy == pytest.approx(2 / 3)
    assert (found.confusion[0][0], found.confusion[0][5], found.confusion[3][3]) == (1, 1, 1)
    assert sum(map(sum, found.confusion)) == 3


def test_a_folder_is_taken_up_by_its_own_spec_and_cleared_by_another(tmp_path: Path) -> None:
    first, second = TrainingSpec("m"), TrainingSpec("m", seed=1)
    prepare(first, tmp_path)
    checkpoints.save(tmp_path / "checkpoints", _checkpoint(1))
    save_result(tmp_path, TrainingResult("rejected", "", first.digest))
    assert finished(first, tmp_path)
    assert not finished(second, tmp_path)
    prepare(first, tmp_path)
    assert checkpoints.newest(tmp_path / "checkpoints") is not None
    assert not finished(first, tmp_path)
    prepare(second, tmp_path)
    assert checkpoints.newest(tmp_path / "checkpoints") is None


def test_a_failed_job_is_not_finished(tmp_path: Path) -> None:
    spec = TrainingSpec("m")
    save_result(tmp_path, TrainingResult("failed", "out of luck", spec.digest))
    assert not finished(spec, tmp_path)
