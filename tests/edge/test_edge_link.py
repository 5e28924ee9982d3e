"""The link's own ends: whatever is under way when a front goes, it is noticed, and nothing is left behind."""

import asyncio

import pytest
from fake_front import WAIT_S, FakeFront

from protos.link.v1 import link_pb2 as pb
from workers.edge.assignment import Report
from workers.edge.dialling import Dial
from workers.edge.events import Event, LinkLost
from workers.edge.link import Link, LinkSettings
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
