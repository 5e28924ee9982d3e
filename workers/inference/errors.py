"""What an inference call or a load can end in.

InferenceError          answered to the caller with its gRPC code
├── ModelUnknown        NOT_FOUND: no such model, or not in that version
├── ModelNotReady       UNAVAILABLE: known, but draining or not loaded yet; another replica may answer
├── WrongIncarnation    UNAVAILABLE: the call was meant for another load of this model
├── BadTensor           INVALID_ARGUMENT: the request is malformed or does not fit the model
├── Unsupported         UNIMPLEMENTED: a method or an extension this server does not have
└── InferenceFailed     INTERNAL: the model raised while it ran
ModelLoadFailed         a model file that cannot be served; the running one stays
AddressUnusable         the server cannot listen there
└── AddressInUse        another process has the port
"""

from collections.abc import Sequence
from typing import ClassVar

import grpc


class InferenceError(Exception):
    """Root of what callers are told. The message is sent to them: facts and remedy, never a stack trace."""

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL


class ModelUnknown(InferenceError):
    """`served` says what could have been asked for: versions if only the version is unknown, else model names."""

    code = grpc.StatusCode.NOT_FOUND

    def __init__(self, model: str, version: str, served: Sequence[str]) -> None:
        self.model, self.version, self.served = model, version, tuple(served)
        what = f"model {model!r}, version {version!r}" if version else f"model {model!r}"
        shown = ", ".join(repr(name) for name in self.served[:8]) or "nothing"
        super().__init__(f"{what} is not served here; this server serves {shown}{' ...' if len(served) > 8 else ''}")


class ModelNotReady(InferenceError):
    """Worth a retry elsewhere."""

    code = grpc.StatusCode.UNAVAILABLE

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(
            f"model {model!r} is not ready on this server (draining or still loading); ask another replica"
        )


class WrongIncarnation(InferenceError):
    """A port or a name was reused: the caller's route table is older than this load."""

    code = grpc.StatusCode.UNAVAILABLE

    def __init__(self, model: str, asked: str, held: str) -> None:
        self.model, self.asked, self.held = model, asked, held
        super().__init__(
            f"model {model!r} is here as incarnation {held!r}, the call is for {asked!r}; read routes again"
        )


class BadTensor(InferenceError):
    """The message names the tensor and both sides of the contradiction."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class Unsupported(InferenceError):
    """Nothing the caller sends in this form will be answered here."""

    code = grpc.StatusCode.UNIMPLEMENTED


class InferenceFailed(InferenceError):
    """The runtime's own words, on one line."""

    code = grpc.StatusCode.INTERNAL

    def __init__(self, model: str, reason: str) -> None:
        self.model, self.reason = model, reason
        super().__init__(f"model {model!r} failed while it ran: {one_line(reason)}")


class ModelLoadFailed(Exception):
    """Not an InferenceError: it goes to whoever asked for the load."""

    def __init__(self, what: str, reason: str, remedy: str) -> None:
        self.what, self.reason, self.remedy = what, one_line(reason), remedy
        super().__init__(f"{what} does not load: {self.reason}; {remedy}")


class AddressUnusable(Exception):
    """The message names the address, what stands in the way, and the remedy."""

    def __init__(self, address: str, reason: str, remedy: str) -> None:
        self.address, self.reason, self.remedy = address, reason, remedy
        super().__init__(f"cannot listen on {address}: {reason}; {remedy}")


class AddressInUse(AddressUnusable):
    """Another process listens there."""


def one_line(text: str, limit: int = 300) -> str:
    """The first line that says something; a library's report may be a page with addresses and source lines."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
    return first if len(first) <= limit else first[: limit - 3] + "..."
