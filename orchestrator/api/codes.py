"""Errors of the control plane as gRPC statuses: one table, and what the caller then does."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc

from orchestrator.errors import (
    AlreadyEnrolled,
    Compacted,
    Conflict,
    Damaged,
    Forbidden,
    InvalidRequest,
    NotFound,
    OrchestratorError,
    RevisionStale,
    Unavailable,
    Unproven,
)

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[object, object]

logger = logging.getLogger(__name__)

STATUS: dict[type[OrchestratorError], grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,  # change the input
    NotFound: grpc.StatusCode.NOT_FOUND,
    RevisionStale: grpc.StatusCode.ABORTED,  # read again, then repeat
    Compacted: grpc.StatusCode.OUT_OF_RANGE,  # list again, then watch from there
    AlreadyEnrolled: grpc.StatusCode.ALREADY_EXISTS,  # take another name
    Unproven: grpc.StatusCode.UNAUTHENTICATED,
    Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    Conflict: grpc.StatusCode.FAILED_PRECONDITION,  # repeating the call as it is will not help
    Damaged: grpc.StatusCode.DATA_LOSS,  # nothing helps but a backup
    Unavailable: grpc.StatusCode.UNAVAILABLE,  # repeat later
}

# Trailing metadata that names the error's class. A client-side UNAVAILABLE (nobody listens) carries none, so that a
# client can tell "no control plane" from "the control plane's database is away".
ERROR_KEY = "skerry-error"

# A status message travels percent-encoded, 3 bytes for one in the worst case, in headers that clients cap at 8 KiB.
MAX_MESSAGE_BYTES = 2_000


def code_of(error: OrchestratorError) -> grpc.StatusCode:
    """The code of the nearest ancestor that has one."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), grpc.StatusCode.INTERNAL)


def shortened(text: str) -> str:
    """`text` as a status message can carry it; of several lines whole ones, and how many more there are."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= MAX_MESSAGE_BYTES:
        return raw.decode()
    cut = raw[:MAX_MESSAGE_BYTES].decode("utf-8", "ignore")
    whole, newline, _ = cut.rpartition("\n")
    return f"{whole}\nand {text.count(newline) - whole.count(newline)} more" if newline else f"{cut}..."


@asynccontextmanager
async def translated(context: "Context", call: str) -> AsyncIterator[None]:
    """Within it, an error ends the call with its status and its own sentence, never with a stack trace."""
    try:
        yield
    except OrchestratorError as err:
        await context.abort(code_of(err), shortened(str(err)), ((ERROR_KEY, type(err).__name__),))
    except Exception:
        logger.exception("A call of the control API failed on a bug", extra={"call": call})
        await context.abort(
            grpc.StatusCode.INTERNAL,
            f"{call}: the control plane met an unexpected error; its log has the details (logs/ in the state folder)",
            ((ERROR_KEY, "Bug"),),
        )
