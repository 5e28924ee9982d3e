"""The link's own ends: whatever is under way when a front goes, it is noticed, and nothing is left behind."""

import asyncio
from dataclasses import replace

import grpc
import pytest
from fake_front import WAIT_S, FakeFront

from protos.link.v1 import link_pb2 as pb
from workers.edge.assignment import Phase, ReplicaState, Report
from workers.edge.dialling import Dial
from workers.edge.events import Event, LinkLost
from workers.edge.link import Link, LinkSettings
from workers.edge.patience import Patience, told_to_wait_s
from workers.edge.relay import RelayServer
from workers.tasks import stopped

pytestmark = pytest.mark.real


class NoModels:
    def handle(self, method, payload, metadata):
        raise AssertionError("nothing is relayed here")


async def lost(inbox: "asyncio.Queue[Event]") -> None:
    async with asyncio.timeout(WAIT_S):
        while not isinstance(await inbox.get(), LinkLost):
            pass


async def report_at_every_turn(link: Link) -> None:
    while True:
        link.send(Report(0, (), ()))
        await asyncio.sleep(0)


async def attached_and_lost() -> None:
    front, inbox = FakeFront(), asyncio.Queue()
    await front.start()
    settings = LinkSettings(Dial([front.address]), pb.NodeHello(node="n1", site="s1", epoch=1), 0.05, None)
    link = Link(settings, RelayServer(NoModels()), inbox)
    tasks = [asyncio.create_task(link.run(lambda: 0)), asyncio.create_task(report_at_every_turn(link))]
    try:
        await front.until(lambda: front.reports and front.relay_hellos, "attached")
        await front.stop()
        await lost(inbox)
    finally:
        await stopped(tasks)
        await front.stop()


async def test_a_front_that_goes_while_reports_are_sent_is_noticed_every_time() -> None:
    """One in ten was missed for ever: a report that was due at that moment had swallowed the writer's end."""
    before = asyncio.all_tasks()
    for _ in range(25):
        await attached_and_lost()
    async with asyncio.timeout(WAIT_S):  # a reader of a request iterator once stayed behind for each of them
        await asyncio.gather(*(asyncio.all_tasks() - before), return_exceptions=True)


async def test_work_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 3:
            try:
                await asyncio.sleep(WAIT_S)
            except asyncio.CancelledError:
                swallowed += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(WAIT_S):
        await stopped([task])
    assert swallowed == 3


def linked(front: FakeFront) -> tuple[Link, "asyncio.Queue[Event]"]:
    inbox: asyncio.Queue[Event] = asyncio.Queue()
    settings = LinkSettings(Dial([front.address]), pb.NodeHello(node="n1", site="s1", epoch=1), 0.05, None)
    return Link(settings, RelayServer(NoModels()), inbox), inbox


async def test_a_front_that_names_a_time_is_asked_again_then_and_on_the_same_connection() -> None:
    front = FakeFront()
    await front.start()
    front.refuse = (grpc.StatusCode.UNAVAILABLE, "too many", (("skerry-retry-after-ms", "700"),))  # type: ignore[assignment]
    link, _ = linked(front)
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(link.run(lambda: 0))
    try:
        await front.until(lambda: front.hellos, "the first dial")
        began_s, front.refuse = loop.time(), None
        await front.until(lambda: len(front.hellos) == 2, "the second")
        assert 0.6 < loop.time() - began_s < 5.0
        assert len(front.peers["control"]) == 1
    finally:
        await stopped([task])
        await front.stop()


async def test_a_front_that_takes_changes_is_sent_one_report_until_it_answers() -> None:
    front = FakeFront(capabilities=("deltas",))
    await front.start()
    link, _ = linked(front)
    task = asyncio.create_task(link.run(lambda: 0))
    ready = ReplicaState("r", "r.1", Phase.READY)
    try:
        await front.until(lambda: front.hellos, "attached")
        link.send(Report(1, (ready,), ()))
        await front.until(lambda: front.reports, "the first report")
        link.send(Report(1, (replace(ready, phase=Phase.FAILED),), ()))
        link.send(Report(2, (replace(ready, phase=Phase.FAILED), replace(ready, replica="s")), ()))
        beats = front.heartbeats
        await front.until(lambda: front.heartbeats > beats + 3, "signs of life go on")
        assert len(front.reports) == 1
        front.tell(pb.FrontMessage(taken=pb.ReportTaken(number=1)))
        await front.until(lambda: len(front.reports) == 2, "the second report")
        assert front.reports[1].delta
        assert [each.replica for each in front.reports[1].replicas] == ["r", "s"]
    finally:
        await stopped([task])
        await front.stop()


async def test_a_front_that_answers_no_report_is_gone_whatever_takes_what_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.edge.link.ANSWER_WAIT_S", 0.5)
    front = FakeFront(capabilities=("deltas",))
    await front.start()
    link, inbox = linked(front)
    task = asyncio.create_task(link.run(lambda: 0))
    try:
        await front.until(lambda: front.hellos, "attached")
        link.send(Report(1, (), ()))
        await lost(inbox)
        await front.until(lambda: len(front.hellos) == 2, "dialled again")
    finally:
        await stopped([task])
        await front.stop()


@pytest.mark.parametrize("said", ["", "-1", "soon", "\u0663", "1e3"])
def test_a_time_that_makes_no_sense_is_not_waited_for(said: str) -> None:
    metadata = grpc.aio.Metadata(("skerry-retry-after-ms", said))
    err = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), metadata)
    assert told_to_wait_s(err) is None


async def test_patience_doubles_with_each_welcome_that_does_not_come() -> None:
    patience, waits_s = Patience(), []

    async def in_vain() -> None:
        async with patience.waiting():
            waits_s.append(patience.waited_s)
            raise TimeoutError

    for _ in range(6):
        with pytest.raises(TimeoutError):
            await in_vain()
    async with patience.waiting():
        pass
    async with patience.waiting():
        waits_s.append(patience.waited_s)
    assert waits_s == [5, 10, 20, 40, 60, 60, 5]
