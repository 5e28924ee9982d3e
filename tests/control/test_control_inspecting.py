"""What is said of a pushed model that does not load: of the model, never of where it lies for now."""

import io
import tarfile
from pathlib import Path

import pytest

from orchestrator.control.inspecting import inspect_model
from orchestrator.errors import InvalidRequest

pytestmark = pytest.mark.real  # each loads in a process of its own


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    return tmp_path / "incoming" / "95aaf4d729a0263f"


def refused(path: Path, content: bytes, format: str) -> InvalidRequest:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(InvalidRequest) as caught:
        inspect_model(path, format)
    assert caught.value.field == "format"
    for place in (str(path), path.name, "/tmp"):
        assert place not in str(caught.value)
    return caught.value


def test_a_broken_tflite_file(incoming: Path) -> None:
    err = refused(incoming, b"xxxxTFL3junkjunk", "tflite")
    assert err.remedy.startswith("the model does not load: ")
    assert err.remedy.endswith(": check that it is a whole .tflite file")


def test_a_saved_model_that_cannot_be_parsed(incoming: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        graph = tarfile.TarInfo("saved_model.pb")
        graph.size = 5
        archive.addfile(graph, io.BytesIO(b"graph"))
    err = refused(incoming, packed.getvalue(), "savedmodel.tar")
    assert "Cannot parse file b'saved_model.pb'" in err.remedy
    assert err.remedy.endswith(": export it again with tf.saved_model.save")


def test_a_tar_that_is_none(incoming: Path) -> None:
    assert "the model does not load" in refused(incoming, b"no tar at all", "savedmodel.tar").remedy
