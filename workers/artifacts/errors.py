"""What can be wrong with an artifact.

ArtifactError
├── DigestInvalid    the text is no digest
├── ArtifactUnknown  nobody stored these bytes
├── OffsetBeyondEnd  a read goes past the last byte
├── RangesTooMany    one request asks for more than a request may
├── ManifestInvalid  the bytes are no manifest, or not this artifact's
├── KeyUnusable      a file holds no key that signs
├── CheckBroken      a signature could not be checked now
├── SignatureRefused nobody who is trusted vouches for it, or not any more
└── ArtifactCorrupt  the bytes are not what their digest says
"""

from pathlib import Path


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
    """A read goes past the last byte."""

    def __init__(self, digest: str, offset: int, size_bytes: int) -> None:
        self.digest, self.offset, self.size_bytes = digest, offset, size_bytes
        super().__init__(f"artifact {digest}: offset {offset} is outside its {size_bytes} bytes: start again from 0")


class RangesTooMany(ArtifactError):
    """A request is answered as a whole: it must end."""

    def __init__(self, ranges: int, most: int) -> None:
        super().__init__(f"ranges: {ranges} in one request: ask for at most {most} at once")


class ManifestInvalid(ArtifactError):
    """Not what a manifest looks like, or one of something else."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"manifest: {problem}: it is not used")


class KeyUnusable(ArtifactError):
    """A key file that somebody gave, or that was damaged."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"signing key {path}: {problem}: restore it, or move it away and a new one is made")


class CheckBroken(ArtifactError):
    """Neither right nor wrong: the check itself did not end."""

    def __init__(self, digest: str, problem: str) -> None:
        super().__init__(f"artifact {digest}: its signature cannot be checked now: {problem}: it is tried again")


class SignatureRefused(ArtifactError):
    """It must not be loaded. The message says what would have to change."""

    def __init__(self, digest: str, problem: str) -> None:
        self.digest, self.problem = digest, problem
        super().__init__(f"artifact {digest}: not loaded: {problem}")


class ArtifactCorrupt(ArtifactError):
    """The bytes are not what their digest says. Whoever raises it has taken them out of use."""

    def __init__(self, digest: str, problem: str) -> None:
        self.digest = digest
        super().__init__(f"artifact {digest}: {problem}: the copy is not used, fetch it again")
