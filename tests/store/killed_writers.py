"""Starts writers that a test kills: imports once, then forks them, so that a round takes milliseconds.

Reads "URL NAME NAME" lines, forks one writer per name, answers "pids PID PID", then for each acknowledged commit
"ack NAME KEY N REVISION", and "ended" once both writers are gone.
"""

import os
import signal
import sys

import alembic.command  # noqa: F401  here, so that each fork need not

from orchestrator.errors import RevisionStale, StoreUnavailable
from orchestrator.model.stored import Batch, Key, Owner, Put, StoredObject
from orchestrator.store import SqlStore, open_store

SHARED = Key("Zone", "", "shared")


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # one write: lines of two writers do not mix


def add_one(store: SqlStore) -> StoredObject:
    """One more in the shared object, compared with the revision read."""
    while True:
        found = [each for each in store.list_objects("Zone")[0] if each.key == SHARED]
        revision, n = (found[0].revision, int(str(found[0].spec["n"]))) if found else (0, 0)
        try:
            return store.commit(Batch(writes=(Put(SHARED, Owner.COMMAND, revision, {"n": n + 1}),)))[0]
        except RevisionStale:
            continue


def write_until_killed(url: str, name: str) -> None:
    store = open_store(url)
    own = Key("Site", "", name)
    for n in range(1, 100_000):
        pair = tuple(Put(key, Owner.COMMAND, None, {"n": n}) for key in (own, Key("Site", "", f"{name}-twin")))
        written = store.commit(Batch(writes=pair))
        say(f"ack {name} {own.name} {n} {written[0].revision}")
        shared = add_one(store)
        say(f"ack {name} {SHARED.name} {shared.spec['n']} {shared.revision}")


def fork_writer(url: str, name: str) -> int:
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # nobody is left to kill it: end all the same
        try:
            write_until_killed(url, name)
        except StoreUnavailable as err:  # the test stopped the server
            os.write(2, f"{err}\n".encode())
        finally:
            os._exit(0)
    return pid


def main() -> None:
    for line in sys.stdin:
        url, *names = line.split()
        pids = [fork_writer(url, name) for name in names]
        say(f"pids {' '.join(map(str, pids))}")
        for pid in pids:
            os.waitpid(pid, 0)
        say("ended")


if __name__ == "__main__":
    main()
