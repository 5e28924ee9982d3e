"""What a model is to the server: named tensors in, named tensors out; and which runtime opens which file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workers.inference.errors import ModelLoadFailed
from workers.inference.tensors import Array

FORMATS = ("tflite", "savedmodel", "savedmodel.tar")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """`shape` None: any rank. -1 in it: any size."""

    name: str
    datatype: str
    shape: tuple[int, ...] | None

    def accepts(self, shape: tuple[int, ...], any_rows: bool = False) -> bool:
        want = self.shape
        if want is None or want == shape:
            return True
        if len(shape) != len(want):
            return False
        start = 1 if any_rows else 0
        return all(size in (-1, got) for size, got in zip(want[start:], shape[start:], strict=True))

    def __str__(self) -> str:
        return f"{self.name} {self.datatype} {'any shape' if self.shape is None else list(self.shape)}"


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """`row_by_row`: the file is fixed to one row, and the runtime runs a larger batch one row after the other."""

    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    row_by_row: bool = False

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.inputs))} -> {', '.join(map(str, self.outputs))}"


class Runtime(Protocol):
    """One loaded model. Thread-safe."""

    @property
    def description(self) -> ModelDescription: ...

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """The named outputs, in that order, owned by the caller. Inputs fit the description.

        Raises BadTensor when shapes that fit one by one do not fit together, InferenceFailed for what the model raised.
        """
        ...


def open_model(path: Path, format: str) -> Runtime:
    """Load and warm up. Raises ModelLoadFailed. TensorFlow is imported only for a SavedModel."""
    if format not in FORMATS:
        raise ModelLoadFailed(str(path), f"format {format!r} is not known", f"use one of {', '.join(FORMATS)}")
    if not path.exists():
        raise ModelLoadFailed(str(path), "no such file", "check the path")
    if format == "tflite":
        from workers.inference.litert import LiteRtModel

        return LiteRtModel(path)
    from workers.inference.savedmodel import SavedModel

    return SavedModel(path, packed=format == "savedmodel.tar")


def format_of(path: Path) -> str:
    """The format that a path looks like. Raises ModelLoadFailed when it looks like none."""
    if path.is_dir() and (path / "saved_model.pb").is_file():
        return "savedmodel"
    if path.is_file() and path.suffix == ".tflite":
        return "tflite"
    if path.is_file() and path.suffix == ".tar":
        return "savedmodel.tar"
    reason = "no such file" if not path.exists() else "it is no model in a form this server knows"
    raise ModelLoadFailed(str(path), reason, "give a .tflite file, a SavedModel folder or a .tar of one")
