"""`python -m benchmarks.fleet.clients`: some of the fleet's nodes as one process; says once a second how they fare.

SIGUSR1 cuts all their connections at once, as a WAN does.
"""

import argparse
import asyncio
import dataclasses
import json
import random
import signal

from benchmarks.fleet.node import DIALS_AT_ONCE, LightNode, Tally

SPREAD_S = 2.0  # over which they dial first: nobody turns on 10,000 machines within a millisecond


async def run(front: str, first: int, count: int, heartbeat_s: float) -> None:
    tally, chance, dials = Tally(), random.Random(first), asyncio.Semaphore(DIALS_AT_ONCE)
    nodes = [LightNode(first + number, front, heartbeat_s, tally, chance, dials) for number in range(count)]

    def cut() -> None:
        for node in nodes:
            node.cut.set()

    async def one(node: LightNode) -> None:
        await asyncio.sleep(SPREAD_S * chance.random())
        await node.run()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, cut)
    tasks = [asyncio.create_task(one(node)) for node in nodes]
    while not any(task.done() for task in tasks):
        print(json.dumps(dataclasses.asdict(tally)), flush=True)
        await asyncio.sleep(1.0)
    for task in tasks:
        if task.done():
            task.result()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--front", required=True)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--heartbeat-s", type=float, required=True)
    given = parser.parse_args()
    asyncio.run(run(given.front, given.first, given.count, given.heartbeat_s))
