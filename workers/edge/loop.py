"""The loop: events in, actions out, and nothing of its own."""

import asyncio
from typing import Protocol

from workers.edge.actions import Action
from workers.edge.events import Event, Ticked

TICK_S = 1.0
INBOX_EVENTS = 256  # as many as a slow disk may keep waiting; then the sources wait too

Inbox = asyncio.Queue[Event]


class Steps(Protocol):
    def step(self, event: Event, now_s: float) -> list[Action]: ...


class Performs(Protocol):
    async def perform(self, action: Action, inbox: Inbox) -> None: ...


async def run(agent: Steps, host: Performs, inbox: Inbox) -> None:
    """Feed events to the agent and have done what it asks, until cancelled.

    A lost link or a failed action is an event: models keep answering. An exception here is a bug, and ends the process
    so that its supervisor restarts it.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_tick(inbox))
        while True:
            event = await inbox.get()
            for action in agent.step(event, loop.time()):
                tasks.create_task(host.perform(action, inbox))


async def _tick(inbox: Inbox) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        await inbox.put(Ticked())
