"""The canonical spec of a training job, as the control plane hands it to a cluster."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

RECIPES = ("digits-cnn",)
DATA_SETS = ("sklearn-digits",)
LITERT_VARIANTS = ("litert-fp32", "litert-fp16", "litert-int8")


class SpecRefused(ValueError):
    """A field of the spec cannot be accepted; the message names field, value and remedy."""

    def __init__(self, field: str, value: object, remedy: str) -> None:
        self.field, self.value, self.remedy = field, value, remedy
        super().__init__(f"{field}: {value!r}: {remedy}")


@dataclass(frozen=True, slots=True)
class Gate:
    """What the held-out images must show before a version is registered."""

    accuracy_min: float


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where the rows come from."""

    source: str = "sklearn-digits"


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """Everything that a run depends on: the same spec on the same image gives the same weights.

    `batch_size` counts the rows of one step over all workers together.
    """

    model: str
    recipe: str = "digits-cnn"
    data: DataSource = DataSource()
    workers: int = 1
    epochs: int = 5
    batch_size: int = 32
    seed: int = 0
    learning_rate: float = 0.005
    gate: Gate = Gate(accuracy_min=0.0)
    variants: tuple[str, ...] = LITERT_VARIANTS

    def __post_init__(self) -> None:
        _refuse_unless(bool(self.model), "model", self.model, "give the name of the model to train")
        _refuse_unless(self.recipe in RECIPES, "recipe", self.recipe, f"use one of {', '.join(RECIPES)}")
        source = self.data.source
        _refuse_unless(source in DATA_SETS, "data.source", source, f"use one of {', '.join(DATA_SETS)}")
        _refuse_unless(1 <= self.workers <= 64, "workers", self.workers, "give 1 to 64")
        _refuse_unless(1 <= self.epochs <= 1000, "epochs", self.epochs, "give 1 to 1000")
        enough = self.batch_size >= self.workers
        _refuse_unless(enough, "batch_size", self.batch_size, f"give at least a row to each of {self.workers} workers")
        _refuse_unless(0 <= self.seed < 2**31, "seed", self.seed, "give 0 to 2147483647")
        _refuse_unless(
            0 < self.learning_rate <= 10, "learning_rate", self.learning_rate, "give more than 0, at most 10"
        )
        gate = self.gate.accuracy_min
        _refuse_unless(0 <= gate <= 1, "gate.accuracy_min", gate, "give a share between 0 and 1")
        for variant in self.variants:
            known = variant in LITERT_VARIANTS
            _refuse_unless(known, "variants", variant, f"use some of {', '.join(LITERT_VARIANTS)}")
        _refuse_unless(bool(self.variants), "variants", self.variants, "name at least one")
        _refuse_unless(len(set(self.variants)) == len(self.variants), "variants", self.variants, "name each once")

    def to_json(self) -> str:
        """Canonical: sorted keys, no blanks."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.to_json().encode()).hexdigest()


def parse_spec(text: str) -> TrainingSpec:
    """Raises SpecRefused; a field that is left out takes its default, an unknown one is refused by name."""
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as err:
        raise SpecRefused("spec", text[:80], f"give a JSON object ({err})") from err
    if not isinstance(fields, dict):
        raise SpecRefused("spec", text[:80], "give a JSON object")
    for name in fields:
        _refuse_unless(name in _TYPES, name, fields[name], f"unknown; a spec has {', '.join(_TYPES)}")
    if "model" not in fields:
        raise SpecRefused("model", None, "give the name of the model to train")
    return TrainingSpec(**{name: _typed(name, value) for name, value in fields.items()})  # type: ignore[arg-type]


_TYPES: Mapping[str, type] = {
    "model": str,
    "recipe": str,
    "data": dict,
    "workers": int,
    "epochs": int,
    "batch_size": int,
    "seed": int,
    "learning_rate": float,
    "gate": dict,
    "variants": list,
}


def _typed(name: str, value: object) -> object:
    wanted = _TYPES[name]
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise SpecRefused(name, value, f"give a {wanted.__name__}")
    if isinstance(value, dict):
        return _data(value) if name == "data" else _gate(value)
    if isinstance(value, list):
        return tuple(_variant_name(item) for item in value)
    return value


def _data(fields: dict[str, object]) -> DataSource:
    for name in fields:
        _refuse_unless(name == "source", f"data.{name}", fields[name], "unknown; data has source")
    source = fields.get("source", DataSource().source)
    if not isinstance(source, str):
        raise SpecRefused("data.source", source, f"use one of {', '.join(DATA_SETS)}")
    return DataSource(source)


def _gate(fields: dict[str, object]) -> Gate:
    for name in fields:
        _refuse_unless(name == "accuracy_min", f"gate.{name}", fields[name], "unknown; a gate has accuracy_min")
    value = fields.get("accuracy_min", 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecRefused("gate.accuracy_min", value, "give a share between 0 and 1")
    return Gate(float(value))


def _variant_name(item: object) -> str:
    if not isinstance(item, str):
        raise SpecRefused("variants", item, f"use some of {', '.join(LITERT_VARIANTS)}")
    return item


def _refuse_unless(holds: bool, field: str, value: object, remedy: str) -> None:
    if not holds:
        raise SpecRefused(field, value, remedy)
