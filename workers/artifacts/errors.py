"""What can be wrong with an artifact.

ArtifactError
├── DigestInvalid    the text is no digest
├── ArtifactUnknown  nobody stored these bytes
├── OffsetBeyondEnd  a read starts past the last byte
├── ManifestInvalid  the bytes are no manifest, or not this artifact's
└── ArtifactCorrupt  the bytes are not what their digest says
"""


class ArtifactError(Exception):
    """Root. The message says what failed, on what, and what would fix it."""


class DigestInvalid(ArtifactError):
    """Not "sha256:" and 64 lower-case hexadecimal digits."""

    def __init__(self, text: str) -> None:
        shown = text if len(text) <= 100 else text[:97] + "..."
        super().__init__(f"digest: {shown!r}: give 'sha256:' and 64 lower-case hexadecimal digits")


class ArtifactUnknown(ArtifactError):
    """The library does not hold the digest."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        super().__init__(f"artifact {digest} is not in the library: push or train the version again")


class OffsetBeyondEnd(ArtifactError):
    """A read starts past the last byte."""

    def __init__(self, digest: str, offset: int, size_bytes: int) -> None:
        self.digest, self.offset, self.size_bytes = digest, offset, size_bytes
        super().__init__(f"artifact {digest}: offset {offset} is outside its {size_bytes} bytes: start again from 0")


class ManifestInvalid(ArtifactError):
    """Not what a manifest looks like, or one of something else."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"manifest: {problem}: it is not used")


class ArtifactCorrupt(ArtifactError):
    """The bytes are not what their digest says. Whoever raises it has taken them out of use."""

    def __init__(self, digest: str, problem: str) -> None:
        self.digest = digest
        super().__init__(f"artifact {digest}: {problem}: the copy is not used, fetch it again")
