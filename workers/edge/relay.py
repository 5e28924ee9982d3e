"""Answers the calls that a front relays, over the connection that the node opened."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol, TypeAlias

import grpc

from protos.link.v1 import link_pb2 as pb
from protos.link.v1 import link_pb2_grpc
from workers.inference.dataplane import INCARNATION_KEY, Reply
from workers.inference.errors import InferenceError

THREADS = 4
MOST_CALLS = 256  # under way and waiting: what a front sends to one node at most

# None: the connection has ended, and no more is drawn from it.
Outgoing: TypeAlias = asyncio.Queue[pb.RelayAnswer | None]

_log = logging.getLogger(__name__)


class Answers(Protocol):
    """What relayed calls are answered by."""

    def handle(self, method: str, payload: bytes, metadata: Mapping[str, str]) -> Reply:
        """Raises InferenceError."""
        ...


class RelayServer:
    """One node's relayed calls, over however many connections one after the other."""

    def __init__(self, answers: Answers, threads: int = THREADS, most_calls: int = MOST_CALLS) -> None:
        self._answers, self._most_calls = answers, most_calls
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="relay")
        self._calls = 0  # in the pool, also those whose caller has given up
        self._leaving = False
        self._idle = asyncio.Event()  # set when the last call has ended

    async def serve(self, channel: grpc.aio.Channel, node: str, session: str) -> None:
        """Until the connection ends; raises AioRpcError with its reason."""
        # Bounded by MOST_CALLS, not by a maxsize: what is in it was counted when it was taken.
        answers: Outgoing = asyncio.Queue()
        answers.put_nowait(pb.RelayAnswer(hello=pb.RelayHello(node=node, session=session)))
        stream = link_pb2_grpc.RelayStub(channel).Serve(_drawn_from(answers))
        under_way: dict[int, asyncio.Task[None]] = {}
        try:
            async for call in stream:
                if call.WhichOneof("kind") == "request":
                    work = self._answer(call.call, call.request, answers)
                    under_way[call.call] = asyncio.create_task(_forgotten(under_way, call.call, work))
                elif task := under_way.get(call.call):
                    task.cancel()
        finally:
            stream.cancel()
            answers.put_nowait(None)  # grpc leaves its reader of them waiting when the front ended the stream
            for task in list(under_way.values()):
                task.cancel()

    async def leave(self, within_s: float) -> None:
        """Take no more calls; return when those under way are answered, at the latest after `within_s`."""
        self._leaving = True
        if self._calls:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._idle.wait()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, number: int, request: pb.RelayRequest, answers: Outgoing) -> None:
        result = await self._result(request)
        answers.put_nowait(pb.RelayAnswer(call=number, result=result))

    async def _result(self, request: pb.RelayRequest) -> pb.RelayResult:
        if self._leaving:
            return _refused(grpc.StatusCode.UNAVAILABLE, "this node's agent is stopping; ask another replica")
        if self._calls >= self._most_calls:
            reason = f"{self._calls} relayed calls are under way on this node, which takes {self._most_calls}"
            return _refused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{reason}; ask another replica")
        timeout_s = request.timeout_ms / 1000 or None
        try:
            async with asyncio.timeout(timeout_s):
                return await self._in_pool(request)
        except TimeoutError:
            return _refused(grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within timeout_ms {request.timeout_ms}")

    async def _in_pool(self, request: pb.RelayRequest) -> pb.RelayResult:
        """A call that is given up before a thread took it is never run; one that runs keeps its place until it ends."""
        self._calls += 1
        self._idle.clear()
        future = self._threads.submit(self._run, request)
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: self._ended(loop))
        return await asyncio.wrap_future(future)

    def _ended(self, loop: asyncio.AbstractEventLoop) -> None:
        """In the pool's thread."""
        with suppress(RuntimeError):  # the loop is closed: the process ends and nobody counts any more
            loop.call_soon_threadsafe(self._give_back_place)

    def _give_back_place(self) -> None:
        self._calls -= 1
        if not self._calls:
            self._idle.set()

    def _run(self, request: pb.RelayRequest) -> pb.RelayResult:
        metadata = dict(request.metadata)
        if request.incarnation:
            metadata[INCARNATION_KEY] = request.incarnation
        try:
            reply = self._answers.handle(request.method, request.payload, metadata)
        except InferenceError as err:
            return _refused(err.code, str(err))
        except Exception:  # noqa: BLE001 - the edge of the process: an exception's text is not for callers
            _log.exception("A relayed call ended in a bug of this agent", extra={"method": request.method})
            return _refused(grpc.StatusCode.INTERNAL, "internal error of the node's agent; its log has the details")
        return pb.RelayResult(payload=reply.payload, metadata=dict(reply.metadata))


async def _forgotten(under_way: dict[int, asyncio.Task[None]], number: int, work: Coroutine[None, None, None]) -> None:
    """Does the work of one call, and takes it out of those under way."""
    try:
        await work
    finally:
        under_way.pop(number, None)


async def _drawn_from(answers: Outgoing) -> AsyncIterator[pb.RelayAnswer]:
    while (answer := await answers.get()) is not None:
        yield answer


def _refused(code: grpc.StatusCode, message: str) -> pb.RelayResult:
    return pb.RelayResult(code=code.value[0], message=message)
