"""A disk that fills up in the middle of a fetch: told, survived, and gone on from."""

import os
import random
import signal

import pytest
from conftest import DENSE, SKERRY_EDGE, Node, infer_request, replica
from fake_front import FakeFront

pytestmark = pytest.mark.real

# In a mount namespace of its own, whose disk is small and partly taken; SIGUSR1 frees it. It ends with its shell.
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=4m tmpfs "$STATE" || exit 99
head -c 3000000 /dev/zero > "$STATE/filler"
trap 'rm "$STATE/filler"' USR1
setpriv --pdeathsig KILL "$@" & agent=$!
trap 'kill $agent' TERM
while :; do wait $agent; code=$?; kill -0 $agent 2>/dev/null || exit $code; done
"""


async def test_a_disk_that_fills_up_is_told_and_the_fetch_goes_on_when_there_is_room(
    front: FakeFront, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    front.capabilities = ("chunks",)
    node.state_dir.mkdir()
    monkeypatch.setenv("STATE", str(node.state_dir))
    own = "-m" if os.geteuid() == 0 else "-rm"  # an ordinary user may mount in a user namespace of its own
    node.program = ("unshare", own, "sh", "-c", ON_A_SMALL_DISK, "sh", *SKERRY_EDGE)
    small = front.add_chunked(DENSE)
    front.assign(1, replica("r1", small))
    node.start(front.address, "none", "--disk-mib", "100")
    await front.until_phase("r1", "READY")
    data = DENSE + random.Random(4).randbytes(2_000_000)
    artifact = front.add_chunked(data, chunk_bytes=50_000)
    front.assign(2, replica("r1", small), replica("r2", artifact, "v2", service="big"))
    await front.until(lambda: "No space left on device" in front.state("r2").reason, "a full disk")
    assert "free space on the disk of" in front.state("r2").reason
    assert (await front.relay("ModelInfer", infer_request())).code == 0  # what runs goes on
    assert node.process is not None
    node.process.send_signal(signal.SIGUSR1)
    await front.until_phase("r2", "READY")
    offsets = [f.ranges[0].offset for f in front.fetches if f.digest == artifact.digest]
    assert max(offsets) > 500_000  # it went on where the disk was full


async def test_an_artifact_over_the_nodes_budget_is_not_fetched(front: FakeFront, node: Node) -> None:
    artifact = front.add(DENSE + bytes(2 << 20))
    front.assign(1, replica("r1", artifact))
    node.start(front.address, "none", "--disk-mib", "1")
    await front.until(lambda: "raise --disk-mib" in front.state("r1").reason, "a word on the budget")
    assert front.fetches == []
    front.assign(2, replica("r2", front.add(DENSE), "v2"))
    await front.until_phase("r2", "READY")
