"""What the control plane says of artifacts, and whom it tells nodes to trust."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Event

import pytest

from orchestrator.control import papers as papers_module
from orchestrator.control.papers import ArtifactPapers
from orchestrator.control.trusting import TrustFolder
from orchestrator.model.ids import NodeName
from orchestrator.reconcile.assignments import AssignedReplica
from protos.control.v1 import control_pb2
from protos.link.v1 import link_pb2
from tests.control.fakes import FrontInHand, Running, until
from tests.control.test_control_plane import PLACES, SERVICE, address, front, running
from workers.artifacts.describing import Described, Describer
from workers.artifacts.digest import digest_of_file
from workers.artifacts.errors import ArtifactUnknown
from workers.artifacts.library import ArtifactLibrary
from workers.artifacts.manifest import parse_manifest
from workers.artifacts.signing import SigningKey
from workers.artifacts.trust import Trust, check

__all__ = ["address", "front", "running"]  # fixtures
NODE = NodeName("n1")
POLICY = """
apiVersion: skerry.dev/v1alpha1
kind: PlacementPolicy
metadata: {name: near}
spec: {bandwidth: {rollout_mbps_per_site: 8}, cost: {burst_to_cloud: false}}
"""


@pytest.mark.real
async def test_a_node_is_told_of_a_pushed_model_with_its_papers_at_once(running: Running, front: FrontInHand) -> None:
    file = Path(__file__).parents[1] / "models" / "digits-int8.tflite"
    digest, size_bytes = digest_of_file(file)
    header = control_pb2.PushHeader(name="digits", format="tflite", digest=digest, size_bytes=size_bytes)
    header.owner = "command"

    async def chunks() -> AsyncIterator[control_pb2.PushChunk]:
        yield control_pb2.PushChunk(header=header)
        yield control_pb2.PushChunk(data=file.read_bytes())

    await running.control.Push(chunks())
    told: list[link_pb2.Assignment] = []
    await running.apply("---".join((PLACES, POLICY, SERVICE)))
    await until("assigned", lambda: told.extend(a for a in front.assignments.values() if a.replicas) or bool(told))
    (replica,) = told[0].replicas
    assert replica.rollout_bps == 8_000_000
    library = ArtifactLibrary(running.settings.artifacts)
    with library.open(replica.artifact.manifest) as paper:
        assert parse_manifest(paper.read(0, 1 << 20)).artifact == digest
    with library.open(replica.artifact.signature) as paper:
        trust = told[0].trust
        bundle = paper.read(0, 1 << 20)
    check(digest, replica.artifact.manifest, bundle, Trust(tuple(trust.keys), valid_s=trust.valid_s), 0.0)
    revoked = running.settings.pki_dir / "revocations.json"
    revoked.write_text(json.dumps({"artifacts": [digest]}))
    await until("revoked", lambda: any(digest in a.trust.revoked_artifacts for a in front.assignments.values()))


class Watch:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now_s(self) -> float:
        return self.at_s

    def wall_s(self) -> float:
        return self.at_s


@pytest.fixture
def describer(tmp_path: Path) -> Describer:
    return Describer(ArtifactLibrary(str(tmp_path / "artifacts")), SigningKey.opened(tmp_path / "pki" / "signing.key"))


def trusted(describer: Describer, tmp_path: Path) -> TrustFolder:
    return TrustFolder(tmp_path / "pki", describer.key.public_der, 60.0)


def replica(digest: str, size_bytes: int) -> AssignedReplica:
    return AssignedReplica("r1", "default", "digits", "v1", digest, size_bytes, "tflite", 1, "d", 1, False)


async def test_an_assigned_artifact_gets_its_papers_once_it_is_in_the_library(
    describer: Describer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "model").write_bytes(b"a model")
    digest, size_bytes = ArtifactLibrary(str(tmp_path / "elsewhere")).add(tmp_path / "model")
    watch, held = Watch(), {NODE: (replica(digest, size_bytes),)}
    papers = ArtifactPapers(describer, trusted(describer, tmp_path), watch)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await papers.described(held) == held
    assert caplog.text.count("cannot be described: nodes fetch the whole of it") == 1
    assert describer.library.add(tmp_path / "model") == (digest, size_bytes)
    assert await papers.described(held) == held
    watch.at_s = papers_module.TRY_AGAIN_S
    ((found,),) = (await papers.described(held)).values()
    assert describer.library.size(found.manifest) > 0
    assert describer.library.size(found.signature) > 0


class Slow:
    """A describer in the middle of a large artifact."""

    def __init__(self) -> None:
        self.go_on = Event()

    def describe(self, digest: str, size_bytes: int, format: str, namespace: str) -> Described:
        if not self.go_on.wait(20.0):
            raise ArtifactUnknown(digest)
        return Described("sha256:m", "sha256:s")  # type: ignore[arg-type]


async def test_what_takes_long_comes_later_and_keeps_nobody_waiting(
    describer: Describer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(papers_module, "WAIT_S", 0.05)
    slow, held = Slow(), {NODE: (replica("sha256:a", 1),)}
    papers = ArtifactPapers(slow, trusted(describer, tmp_path), Watch())  # type: ignore[arg-type]
    assert await papers.described(held) == held
    slow.go_on.set()
    end_s = time.monotonic() + 20.0
    while (await papers.described(held))[NODE][0].manifest != "sha256:m":
        assert time.monotonic() < end_s
        await asyncio.sleep(0.01)


def test_the_installations_own_key_is_trusted_and_those_of_the_folder(describer: Describer, tmp_path: Path) -> None:
    folder, own = trusted(describer, tmp_path), describer.key.public_der
    assert folder.read() == Trust((own,), valid_s=60)
    other = SigningKey.opened(tmp_path / "pki" / "trusted" / "other.key")  # makes other.pub beside it
    assert folder.read() == Trust((own, other.public_der), valid_s=60)
    revoked = {"keys": [other.id], "artifacts": ["sha256:" + "a" * 64]}
    (tmp_path / "pki" / "revocations.json").write_text(json.dumps(revoked))
    expected = Trust((own, other.public_der), frozenset(revoked["keys"]), frozenset(revoked["artifacts"]), 60)
    assert folder.read() == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("[]", 'give an object with "keys" and "artifacts"'),
        ('{"key": []}', 'give an object with "keys" and "artifacts"'),
        ('{"keys": "a"}', "keys: give a list of texts"),
        ('{"keys": ["a"]}', "keys: 'a': give the 64 hexadecimal digits"),
        ('{"artifacts": ["a"]}', "digest: 'a': give 'sha256:'"),
        ("[" * 100_000, "revocations.json"),
    ],
)
def test_a_mistake_in_a_file_changes_nothing_and_is_told_once(
    describer: Describer, tmp_path: Path, text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder, path = trusted(describer, tmp_path), tmp_path / "pki" / "revocations.json"
    path.write_text(json.dumps({"artifacts": ["sha256:" + "a" * 64]}))
    before = folder.read()
    path.write_text(text)
    (tmp_path / "pki" / "trusted").mkdir()
    (tmp_path / "pki" / "trusted" / "x.pub").write_text("garbage")
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            assert folder.read() == before
    (record,) = caplog.records
    assert said in record.__dict__["reason"]
    assert "trusted" in record.__dict__["reason"]
