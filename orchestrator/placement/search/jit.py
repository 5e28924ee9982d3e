"""Compiled functions, typed as what they were written as."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Machine code that lets other threads run. Kept on disk beside its source where that can be written."""
    try:
        return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function))
    except RuntimeError:  # no place to keep it: a read-only installation compiles anew in each process
        return cast(F, numba.njit(nogil=True, error_model="numpy", _nrt=False)(function))


def part(function: F) -> F:
    """Of compiled functions: becomes a piece of each that calls it.

    A call passes a named tuple by value and counts references to all of its arrays, which for a small function is most
    of its time, and lets two threads wait for each other's counters.
    """
    return cast(F, numba.njit(error_model="numpy", _nrt=False)(function))
