"""Forms around models: ModelVersion, ModelService, TrainingJob."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from orchestrator.model.specs import Variant
from orchestrator.objects.fields import (
    Bytes,
    Cores,
    Digest,
    Document,
    Fraction,
    MemoryMib,
    Name,
    NamespacedMetadata,
    NotNegative,
    Positive,
    Strict,
    Text,
    distinct,
    refuse,
)


class Artifact(Strict):
    """The bytes of a variant, named by their digest."""

    digest: Digest
    size_bytes: Annotated[int, Field(ge=1, le=1 << 50)]
    format: Literal["tflite", "savedmodel.tar"]


class Latency(Strict):
    """Of one call on one core, measured when the variant was made."""

    p50_ms: Positive
    p99_ms: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.p99_ms < self.p50_ms:
            raise refuse(f"give at least p50_ms, {self.p50_ms:g}", "p99_ms", self.p99_ms)
        return self


class HardwareProfile(Strict):
    """What was measured of a variant on sites of one hardware class; they are planned by it."""

    hardware_class: Name = Field(description="as a Site names it")
    latency: Latency
    memory_mib: MemoryMib | None = Field(default=None, description="what a replica claims there; absent: as anywhere")


class Tensor(Strict):
    """One input or output, as the Open Inference Protocol names it; -1 in a shape: any size."""

    name: Text
    datatype: Literal[
        "BOOL",
        "UINT8",
        "UINT16",
        "UINT32",
        "UINT64",
        "INT8",
        "INT16",
        "INT32",
        "INT64",
        "FP16",
        "FP32",
        "FP64",
        "BYTES",
        "BF16",
    ]
    shape: tuple[Annotated[int, Field(ge=-1)], ...] = Field(max_length=16)


class VariantFields(Strict):
    """One built form of a version."""

    variant: Variant
    artifact: Artifact
    memory_mib: MemoryMib = Field(description="what a replica claims")
    cores: Cores = Field(default=1.0, description="what a replica claims")
    accuracy: Fraction | None = Field(default=None, description="measured on held-out data; absent: nobody measured it")
    latency: Latency = Field(description="on any hardware that has no profile")
    # None, not empty: a version that was stored before there were profiles still is what its file says.
    profiles: Annotated[tuple[HardwareProfile, ...], Field(min_length=1, max_length=64)] | None = None
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()

    @field_validator("profiles")
    @classmethod
    def _profiles_differ(cls, profiles: tuple[HardwareProfile, ...] | None) -> tuple[HardwareProfile, ...] | None:
        distinct([form.hardware_class for form in profiles or ()], "hardware_class")
        return profiles

    @model_validator(mode="after")
    def _format_fits(self) -> Self:
        wanted = "savedmodel.tar" if self.variant is Variant.SAVEDMODEL else "tflite"
        if self.artifact.format != wanted:
            raise refuse(f"{self.variant} is made of a {wanted}", "artifact.format", self.artifact.format)
        return self


class Source(Strict):
    """Where a version came from."""

    kind: Literal["trained", "pushed"]
    job: Name | None = Field(default=None, description="the TrainingJob that made it")

    @model_validator(mode="after")
    def _job_if_trained(self) -> Self:
        if (self.kind == "trained") != (self.job is not None):
            raise refuse("name the job of a trained version, and only of one", "job", self.job)
        return self


class ModelVersionFields(Strict):
    model: Name
    variants: tuple[VariantFields, ...] = Field(min_length=1, max_length=8)
    source: Source = Source(kind="pushed")

    @field_validator("variants")
    @classmethod
    def _variants_differ(cls, variants: tuple[VariantFields, ...]) -> tuple[VariantFields, ...]:
        distinct([form.variant for form in variants], "variant")
        return variants


class ModelVersion(Document):
    """An immutable model with its variants, each with what was measured of it."""

    kind: Literal["ModelVersion"]
    metadata: NamespacedMetadata
    spec: ModelVersionFields


class Demand(Strict):
    """What callers of one zone are expected to ask for. The planner takes the measured rate where it is higher."""

    zone: Name
    rate_rps: NotNegative
    request_bytes: Bytes
    response_bytes: Bytes


class ModelServiceFields(Strict):
    version: Name | None = Field(default=None, description="this version")
    model: Name | None = Field(default=None, description="the newest version of this model")
    policy: Name
    demand: tuple[Demand, ...] = Field(min_length=1, max_length=1000)
    variant: Variant | None = Field(default=None, description="only this variant, whatever others there are")

    @model_validator(mode="after")
    def _one_version(self) -> Self:
        if (self.version is None) == (self.model is None):
            raise refuse("give exactly one of version and model", "version", self.version)
        return self

    @field_validator("demand")
    @classmethod
    def _zones_differ(cls, demand: tuple[Demand, ...]) -> tuple[Demand, ...]:
        distinct([form.zone for form in demand], "zone")
        return demand


class ModelService(Document):
    """A version under a policy. Its name is the model name that callers use."""

    kind: Literal["ModelService"]
    metadata: NamespacedMetadata
    spec: ModelServiceFields


class TrainingData(Strict):
    source: Literal["sklearn-digits"] = "sklearn-digits"


class Gate(Strict):
    """What a trained model must reach on held-out data to become a version."""

    accuracy_min: Fraction


class TrainingJobFields(Strict):
    model: Name = Field(description="the version that comes out belongs to this model")
    recipe: Literal["digits-cnn"]
    data: TrainingData = TrainingData()
    workers: Annotated[int, Field(ge=1, le=8)] = 2
    epochs: Annotated[int, Field(ge=1, le=1000)] = 5
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 32
    seed: Annotated[int, Field(ge=0, lt=1 << 31)] = 0
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.005
    gate: Gate = Gate(accuracy_min=0.0)
    variants: tuple[Variant, ...] = Field(
        default=(Variant.LITERT_FP32, Variant.LITERT_FP16, Variant.LITERT_INT8), min_length=1, max_length=4
    )

    @field_validator("variants")
    @classmethod
    def _variants_differ(cls, variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
        distinct(list(variants), "")
        if Variant.SAVEDMODEL in variants:
            raise refuse("this recipe builds litert-fp32, litert-fp16 and litert-int8", "", "savedmodel")
        return variants

    @model_validator(mode="after")
    def _batch_divides(self) -> "TrainingJobFields":
        if self.batch_size % self.workers:
            raise refuse(f"give a multiple of workers, which is {self.workers}", "batch_size", self.batch_size)
        return self


class TrainingJob(Document):
    """One training run: data, recipe, gate, and the variants of the version that comes out."""

    kind: Literal["TrainingJob"]
    metadata: NamespacedMetadata
    spec: TrainingJobFields
