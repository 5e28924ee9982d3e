"""What the forms share: strict models, names, metadata."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from orchestrator.objects.kinds import DEFAULT_NAMESPACE

# DNS-1123 label: what Kubernetes, host names and file names all bear.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
LabelKey = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=253
    ),
]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
Jurisdiction = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$", max_length=63)]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1e12)]
NotNegative = Annotated[float, Field(ge=0, le=1e12)]
MemoryMib = Annotated[int, Field(ge=1, le=1 << 30)]
# Below a thousandth of a core the planner's whole thousandths would count it as nothing.
Cores = Annotated[float, Field(ge=0.001, le=1_000_000)]
Bytes = Annotated[int, Field(ge=0, le=1 << 50)]


class Strict(BaseModel):
    """Frozen; an unknown field is refused, a number in quotes is not a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Metadata(Strict):
    """Of an object that belongs to the whole installation."""

    name: Name
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=64)
    revision: int | None = Field(
        default=None, ge=0, description="if given, the write is refused unless this is the stored revision"
    )
    # What the control plane fills in. Read back so that `get -o yaml | apply -f -` works; never taken from a file.
    uid: str | None = Field(default=None, description="read only")
    generation: int | None = Field(default=None, description="read only")
    managedBy: str | None = Field(default=None, description="read only")  # noqa: N815 (the name on the wire)
    creationTimestamp: str | None = Field(default=None, description="read only")  # noqa: N815


class NamespacedMetadata(Metadata):
    namespace: Name = DEFAULT_NAMESPACE


class Document(Strict):
    """apiVersion, kind, metadata, spec; `status` is read only and ignored."""

    apiVersion: Literal["skerry.dev/v1alpha1"]  # noqa: N815 (the name on the wire)
    status: dict[str, object] | None = Field(default=None, description="read only")


def refuse(remedy: str, field: str = "", value: object = None) -> PydanticCustomError:
    """An error of a check over several fields, to raise in a validator. `field` is relative to the model."""
    return PydanticCustomError("skerry", "{remedy}", {"remedy": remedy, "field": field, "value": value})


def distinct(values: list[str], field: str, listed: str = "") -> None:
    """Raises (for a validator) unless all values differ. `field` of each entry of the list `listed`."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise refuse("give it once", ".".join(part for part in (listed, str(index), field) if part), value)
