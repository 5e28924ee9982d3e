"""Ends tasks that talk over grpc.aio, which may swallow a cancellation."""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

AGAIN_S = 0.2


async def until_first(*works: Coroutine[None, None, None]) -> None:
    """Run all of them until one ends; the others are cancelled. Raises what the first raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await stopped(tasks)
    for task in done:
        task.result()


async def stopped(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Cancel until all have ended; what they raise is left in them, and is no news to the log.

    Once is not enough: a call that is being prepared turns a cancellation into the error of the connection that broke
    at the same moment, and what dials again after an error would never end.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
