"""An event loop whose clock jumps to the next timer instead of waiting for it: hours of patience cost nothing."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc]
    jumped_s = 0.0

    def select(self, timeout: float | None = None):  # type: ignore[no-untyped-def]
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is left to wait for: the test hangs"
            self.jumped_s += max(timeout, 0.0)
        return ready


class SwiftLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return 1000.0 + self._jumping.jumped_s


def run_swiftly(main: Coroutine[object, object, T]) -> T:
    with asyncio.Runner(loop_factory=SwiftLoop) as runner:
        return runner.run(main)
