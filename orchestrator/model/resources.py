"""The resource vector that sites offer and replicas and jobs claim."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resources:
    """Memory and compute; compute in thousandths of a core, as Kubernetes counts it."""

    memory_bytes: int = 0
    compute_millis: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(self.memory_bytes + other.memory_bytes, self.compute_millis + other.compute_millis)

    def __sub__(self, other: "Resources") -> "Resources":
        return Resources(self.memory_bytes - other.memory_bytes, self.compute_millis - other.compute_millis)

    def __mul__(self, count: int) -> "Resources":
        return Resources(self.memory_bytes * count, self.compute_millis * count)

    def fits_in(self, other: "Resources") -> bool:
        """Every component is at most the other's."""
        return self.memory_bytes <= other.memory_bytes and self.compute_millis <= other.compute_millis

    def times_in(self, other: "Resources") -> int:
        """How often it fits; a component of 0 fits as often as anybody asks."""
        memory = other.memory_bytes // self.memory_bytes if self.memory_bytes else 1 << 30
        compute = other.compute_millis // self.compute_millis if self.compute_millis else 1 << 30
        return max(min(memory, compute), 0)
