"""Machines that join, serve, and stay nodes: agents' processes against a front and an enrolment address over mTLS."""

import asyncio
import datetime
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import pytest
from conftest import DENSE, Node, infer_request, replica, wait_for
from fake_enrolment import FakeEnrolment
from fake_front import WAIT_S, FakeFront

from protos.inference.v2 import inference_pb2 as oip
from protos.inference.v2 import inference_pb2_grpc as oip_grpc
from tests.authority import TestAuthority, now
from workers.edge import membership
from workers.edge.plan import Plan, plan_of, save_plan
from workers.identity.folder import IdentityFolder, folder_of
from workers.identity.names import Identity, Role
from workers.identity.tls import asking_for, channel_credentials
from workers.identity.tokens import token_from

pytestmark = pytest.mark.real

NODE = Identity("test", Role.NODE, "n1", "s1")


@dataclass
class Installation:
    authority: TestAuthority
    identity: IdentityFolder
    front: FakeFront
    enrolment: FakeEnrolment

    async def restart_front(self) -> None:
        await self.front.stop()
        self.front.reports.clear()
        await self.front.start(self.front.port, self.identity)


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[Installation]:
    authority, front = TestAuthority(), FakeFront()
    identity = authority.enrol(tmp_path / "front", Role.FRONT, "f1")
    await front.start(identity=identity)
    enrolment = FakeEnrolment(authority, [front.address])
    await enrolment.start(identity)
    yield Installation(authority, identity, front, enrolment)
    await front.stop()
    await enrolment.stop()


async def told(node: Node, *words: str) -> tuple[int, str]:
    done = await asyncio.to_thread(node.told, *words)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


async def joined(there: Installation, node: Node, *more: str) -> str:
    """Joined but not running; answers the token."""
    token = there.enrolment.token()
    code, said = await told(node, "join", there.enrolment.address, "--token", token, "--node", "n1", "--no-run", *more)
    assert code == 0, said
    return token


async def serving(there: Installation, node: Node, lan: str = "127.0.0.1:0") -> None:
    """Joined and running, with one model that is ready."""
    await joined(there, node, "--lan", lan)
    there.front.assign(1, replica("r1", there.front.add(DENSE)))
    node.command("run")
    await there.front.until_phase("r1", "READY")


async def inferred(address: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.StatusCode:
    request = oip.ModelInferRequest.FromString(infer_request())
    if credentials:
        channel = grpc.aio.secure_channel(address, credentials, options=asking_for(Role.NODE))
    else:
        channel = grpc.aio.insecure_channel(address)
    async with channel:
        try:
            await oip_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=WAIT_S)
        except grpc.aio.AioRpcError as err:
            return err.code()
        return grpc.StatusCode.OK


def log_of(node: Node) -> str:
    return node.log.read_text() if node.log.exists() else ""


async def until_log(node: Node, pattern: str) -> str:
    found = await asyncio.to_thread(wait_for, lambda: re.search(pattern, log_of(node)), pattern)
    return found.group()


async def test_a_token_makes_a_machine_a_node_that_serves(there: Installation, node: Node) -> None:
    token = there.enrolment.token()
    there.front.assign(1, replica("r1", there.front.add(DENSE)))
    options = [there.enrolment.address, "--node", "n1", "--lan", "127.0.0.1:0"]
    node.command("join", *options, SKERRY_TOKEN=token)
    await there.front.until_phase("r1", "READY")
    await there.front.until(lambda: all(there.front.peers.values()), "every class of connection")
    assert [identity for identity, _ in there.front.callers] == [NODE]
    assert (there.front.hellos[0].node, there.front.hellos[0].site) == ("n1", "s1")
    assert (await there.front.relay("ModelInfer", infer_request())).code == 0
    assert await inferred(there.front.hellos[0].lan_address) is grpc.StatusCode.OK
    assert "joined: node n1 of site s1" in log_of(node)
    secret = token_from(token).secret.encode()
    kept = [path for path in node.state_dir.rglob("*") if path.is_file()]
    assert [path for path in [*kept, node.log] if secret in path.read_bytes()] == []


async def test_joined_it_runs_with_nothing_but_its_state_folder(there: Installation, node: Node) -> None:
    await joined(there, node, "--memory-mib", "64", "--cores", "0.5", "--lan", "127.0.0.1:0")
    node.command("run")
    await there.front.until(lambda: there.front.hellos, "attached")
    hello = there.front.hellos[0]
    assert (hello.node, hello.site, hello.memory_bytes, hello.compute_millis) == ("n1", "s1", 64 << 20, 500)
    assert hello.lan_address.startswith("127.0.0.1:")
    node.stop()
    node.command("run", "--lan", "none", "--memory-mib", "32")
    await there.front.until(lambda: len(there.front.hellos) > 1, "attached again")
    assert (there.front.hellos[-1].lan_address, there.front.hellos[-1].memory_bytes) == ("", 32 << 20)


async def test_joining_again_is_the_same_node_with_the_same_key(there: Installation, node: Node) -> None:
    token = await joined(there, node)
    key = folder_of(node.state_dir).held().fingerprint
    for again in (["--token", token], []):
        code, said = await told(node, "join", there.enrolment.address, *again, "--lan", "127.0.0.1:9", "--no-run")
        assert code == 0, said
    assert len(there.enrolment.joins) == 1  # nobody needs to be there for that
    code, said = await told(
        node, "join", there.enrolment.address, "--token", there.enrolment.token(), "--no-run", "--lan", "none"
    )
    assert code == 0, said
    assert folder_of(node.state_dir).held().fingerprint == key
    assert len(there.enrolment.joins) == 2
    assert there.enrolment.joins[1].node == "n1"
    found = membership.load(node.state_dir)
    assert found
    assert found.lan == ""


async def test_a_join_that_broke_off_is_finished_with_the_same_key(there: Installation, node: Node) -> None:
    """Its answer was lost, or its disk was full: the token counts once, since the key is the same."""
    token = await joined(there, node)
    key = folder_of(node.state_dir).key()
    (folder_of(node.state_dir).root / "certificate.pem").unlink()
    membership.forget(node.state_dir)
    code, said = await told(node, "join", there.enrolment.address, "--token", token, "--node", "n1", "--no-run")
    assert code == 0, said
    first, second = there.enrolment.nodes.items(), there.enrolment.joins
    assert len(first) == 1
    assert len(second) == 2
    assert folder_of(node.state_dir).key().private_numbers() == key.private_numbers()


async def test_a_folder_of_another_node_or_installation_is_refused_until_it_is_forgotten(
    there: Installation, node: Node, tmp_path: Path
) -> None:
    await joined(there, node)
    code, said = await told(node, "join", there.enrolment.address, "--node", "n2", "--token", there.enrolment.token())
    assert code == 1
    assert "is of node n1: give another --state-dir, or --anew" in said
    other = FakeEnrolment(TestAuthority("other"), [there.front.address])
    await other.start(other.authority.enrol(tmp_path / "other", Role.FRONT, "f1"))
    code, said = await told(node, "join", other.address, "--token", other.token())
    assert code == 1
    assert "has joined under" in said
    assert other.joins == []
    (node.state_dir / "assignment.pb").write_bytes(b"of the former")
    before = folder_of(node.state_dir).held().fingerprint
    code, said = await told(node, "join", other.address, "--token", other.token(), "--node", "n7", "--anew", "--no-run")
    await other.stop()
    assert code == 0, said
    assert folder_of(node.state_dir).held().fingerprint != before
    assert not (node.state_dir / "assignment.pb").exists()


async def test_a_refused_token_is_told_without_its_secret_and_leaves_nothing_half(
    there: Installation, node: Node
) -> None:
    token = there.authority.token()  # that nobody knows
    code, said = await told(node, "join", there.enrolment.address, "--token", token.text, "--node", "n1")
    assert code == 1
    assert "the token was refused" in said
    assert "`skerry token create`" in said
    assert token.secret not in said
    code, said = await told(node, "run")
    assert code == 1
    assert "run `skerry-edge join ADDRESS` first" in said
    await joined(there, node)  # with a right one


async def test_a_foreign_token_is_never_told(there: Installation, node: Node) -> None:
    code, said = await told(node, "join", there.enrolment.address, "--token", TestAuthority().token().text)
    assert code == 1
    assert "check the address, or make a token there" in said
    assert there.enrolment.joins == []


async def test_a_token_may_come_by_file_or_stdin(there: Installation, node: Node, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(there.enrolment.token() + "\n")
    options = ["join", there.enrolment.address, "--node", "n1", "--no-run"]
    code, said = await told(node, *options, "--token-file", str(file))
    assert code == 0, said
    done = await asyncio.to_thread(node.told, *options, "--anew", "--token-file", "-", stdin=there.enrolment.token())
    assert done.returncode == 0, done.stderr
    assert len(there.enrolment.nodes) == 2
    file.write_text("")
    for name, remedy in ((str(file), "is empty"), (str(tmp_path / "nowhere"), "cannot be read")):
        code, said = await told(node, "join", there.enrolment.address, "--token-file", name)
        assert code == 1
        assert remedy in said
    code, said = await told(node, "join", there.enrolment.address, "--token", "skerry1.nonsense")
    assert code == 1
    assert "copy it whole" in said


async def test_beyond_loopback_the_lan_asks_for_certificates(there: Installation, node: Node, tmp_path: Path) -> None:
    await serving(there, node, "0.0.0.0:0")
    address = there.front.hellos[0].lan_address.replace("0.0.0.0", "127.0.0.1")
    caller = there.authority.enrol(tmp_path / "caller", Role.SERVICE, "camera")
    stranger = TestAuthority().enrol(tmp_path / "stranger", Role.SERVICE, "camera").held()
    strange = grpc.ssl_channel_credentials(there.authority.pem, stranger.key_pem, stranger.certificate_pem)
    assert await inferred(address, channel_credentials(caller)) is grpc.StatusCode.OK
    assert await inferred(address, strange) is grpc.StatusCode.UNAVAILABLE
    assert await inferred(address) is grpc.StatusCode.UNAVAILABLE


async def test_a_spoilt_certificate_is_mended_before_the_lan_needs_it(
    there: Installation, node: Node, tmp_path: Path
) -> None:
    await serving(there, node, "0.0.0.0:0")
    node.stop(signal.SIGKILL)
    (node.state_dir / "identity" / "certificate.pem").write_bytes(b"")
    there.front.reports.clear()
    node.command("run")
    await there.front.until_phase("r1", "READY")
    address = there.front.hellos[-1].lan_address.replace("0.0.0.0", "127.0.0.1")
    caller = there.authority.enrol(tmp_path / "caller", Role.SERVICE, "camera")
    assert await inferred(address, channel_credentials(caller)) is grpc.StatusCode.OK
    node.stop(signal.SIGKILL)
    await there.enrolment.stop()
    (node.state_dir / "identity" / "certificate.pem").write_bytes(b"")
    code, said = await told(node, "run")
    assert code == 1
    assert "no certificate to show there" in said
    assert "cannot be reached" in said


async def test_a_front_that_only_pretends_is_not_attached_to(there: Installation, node: Node, tmp_path: Path) -> None:
    await joined(there, node)
    await there.front.stop()
    for identity in (
        TestAuthority().enrol(tmp_path / "other", Role.FRONT, "f1"),
        there.authority.enrol(tmp_path / "node", Role.NODE, "n9", "s1"),
    ):
        await there.front.start(there.front.port, identity)
        node.log.unlink(missing_ok=True)
        node.command("run")
        await until_log(node, "cannot attach to the front.*UNAVAILABLE")
        node.stop()
        await there.front.stop()
    assert there.front.hellos == []


async def test_certificates_renewed_under_load_cost_no_call_and_no_stream(there: Installation, node: Node) -> None:
    there.enrolment.lasts, there.enrolment.renew_in_s = datetime.timedelta(seconds=20), 1
    await serving(there, node)
    lan, codes = there.front.hellos[0].lan_address, []
    end_s = time.monotonic() + WAIT_S
    while len(there.enrolment.renewals) < 4 and time.monotonic() < end_s:
        codes.append(await inferred(lan))
        relayed = await there.front.relay("ModelInfer", infer_request())
        codes.append(grpc.StatusCode.OK if relayed.code == 0 else relayed.code)
    assert len(there.enrolment.renewals) >= 4
    assert set(codes) == {grpc.StatusCode.OK}
    assert len(codes) > 100
    assert len(there.front.hellos) == len(there.front.relay_hellos) == 1  # the streams of the beginning
    await there.restart_front()
    await there.front.until_phase("r1", "READY")
    assert there.front.callers[-1][1] != there.front.callers[0][1]
    assert [identity for identity, _ in there.front.callers] == [NODE, NODE]
    assert len(there.front.fetches) == 1


async def test_an_expired_certificate_is_renewed_by_its_key(there: Installation, node: Node) -> None:
    await joined(there, node)
    folder = folder_of(node.state_dir)
    hour = datetime.timedelta(hours=1)
    ended = there.authority.issue(folder.key(), Role.NODE, "n1", "s1", now() - 9 * hour, now() - hour)
    folder.save(ended, there.authority.pem)
    save_plan(node.state_dir, Plan(time.time() - 5 * 3600, time.time() - 3600, failed="it was offline"))
    node.command("run")
    await there.front.until(lambda: there.front.hellos, "attached")
    assert len(there.enrolment.renewals) == 1
    assert there.front.callers[0][1] == folder.held().certificate.serial_number


async def test_an_agent_that_has_joined_and_renewed_holds_nothing_heavy(there: Installation, node: Node) -> None:
    there.enrolment.renew_in_s = 1
    await joined(there, node)
    script = "import sys; from workers.edge.command import main; main(); print(*sys.modules)"
    node.program = (sys.executable, "-c", script)
    node.command("run")
    await until_log(node, "the certificate is renewed")
    assert await asyncio.to_thread(node.stop) == 0
    loaded = {name.partition(".")[0] for name in log_of(node).splitlines()[-1].split()}
    assert "grpc" in loaded
    assert not loaded & {"cryptography", "tensorflow", "pydantic", "orchestrator"}


async def test_a_renewal_that_fails_is_told_and_the_link_goes_on(there: Installation, node: Node) -> None:
    there.enrolment.renew_in_s = 1
    await serving(there, node)
    await there.enrolment.stop()
    assert "cannot be reached" in await until_log(node, "the certificate is not renewed yet.*")
    assert "cannot be reached" in plan_of(node.state_dir).failed
    assert (await there.front.relay("ModelInfer", infer_request())).code == 0
    await there.enrolment.start(there.identity, there.enrolment.port)
    await asyncio.to_thread(wait_for, lambda: plan_of(node.state_dir).failed == "", "a renewal that went well")


async def test_a_revoked_node_says_so_waits_and_serves_its_lan(there: Installation, node: Node) -> None:
    await serving(there, node)
    lan = there.front.hellos[0].lan_address
    there.front.end(grpc.StatusCode.PERMISSION_DENIED, "key 12ab was revoked")
    await asyncio.to_thread(wait_for, lambda: node.status().get("link") == "not attached", "the end of the link")
    assert "key 12ab was revoked" in node.status()["link_problem"]
    await asyncio.sleep(1.0)  # a try that is not made cannot be waited for: a hot loop makes five in this time
    assert len(there.front.hellos) == 1
    assert await inferred(lan) is grpc.StatusCode.OK
    node.stop()
    node.command("run")
    assert "with --anew and a new token" in await until_log(node, "cannot attach to the front.*")


async def test_a_renewal_that_is_denied_is_told_once_with_the_remedy(there: Installation, node: Node) -> None:
    there.enrolment.renew_in_s = 1
    await serving(there, node)
    there.enrolment.nodes.clear()
    renewals = len(there.enrolment.renewals)
    line = await until_log(node, "the certificate is not renewed: the node was revoked.*")
    assert "join with --anew and a new token" in line
    assert plan_of(node.state_dir).revoked
    assert len(there.enrolment.renewals) == renewals + 1
    assert await inferred(there.front.hellos[0].lan_address) is grpc.StatusCode.OK


async def test_the_next_front_is_dialled_when_one_is_gone(there: Installation, node: Node) -> None:
    second = FakeFront("f2")
    await second.start(identity=there.identity)
    there.front.fronts = [there.front.address, second.address]
    await serving(there, node)
    await asyncio.to_thread(
        wait_for, lambda: second.address in (node.state_dir / "node.json").read_text(), "fronts on disk"
    )
    incarnation = there.front.state("r1").incarnation
    await there.front.stop()
    second.fronts = there.front.fronts
    assert (await second.until_phase("r1", "READY")).incarnation == incarnation
    await second.stop()
    there.front.reports.clear()
    await there.front.start(there.front.port, there.identity)
    assert (await there.front.until_phase("r1", "READY")).incarnation == incarnation
    node.stop(signal.SIGKILL)
    await there.front.stop()
    await second.start(second.port, there.identity)
    hellos = len(second.hellos)
    node.command("run")
    await second.until(lambda: len(second.hellos) > hellos, "attached to the second after a reboot")
    await second.stop()


@pytest.mark.parametrize("name", ["identity/certificate.pem", "identity/authority.pem", "node.json", "renewal.json"])
async def test_a_file_that_rots_while_the_agent_is_down_is_made_good(
    there: Installation, node: Node, name: str
) -> None:
    await serving(there, node)
    node.stop(signal.SIGKILL)
    path = node.state_dir / name
    data = path.read_bytes()
    path.write_bytes(data[:90] + bytes([data[90] ^ 1]) + data[91:] if len(data) > 90 else data[:-1])
    there.front.reports.clear()
    node.command("run")
    await there.front.until_phase("r1", "READY")
    assert folder_of(node.state_dir).held().identity == NODE


async def test_with_a_spoilt_key_the_agent_lives_serves_its_lan_and_says_what_to_do(
    there: Installation, node: Node
) -> None:
    await serving(there, node)
    node.stop(signal.SIGKILL)
    (node.state_dir / "identity" / "key.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----")
    (node.state_dir / "status.json").unlink()
    node.command("run")
    assert "`skerry-edge doctor`" in await until_log(node, "cannot attach to the front.*key.pem.*")
    ready = lambda: any(each["phase"] == "ready" for each in node.status().get("replicas", []))  # noqa: E731
    await asyncio.to_thread(wait_for, ready, "ready from disk")
    status = node.status()
    assert "key.pem" in status["link_problem"]
    assert await inferred(status["lan_address"]) is grpc.StatusCode.OK
    code, said = await told(node, "doctor")
    assert code == 1
    assert "--anew --token T" in said


async def test_a_file_that_is_spoilt_under_a_running_agent_ends_no_link(there: Installation, node: Node) -> None:
    await serving(there, node)
    path = node.state_dir / "identity" / "certificate.pem"
    path.write_bytes(path.read_bytes()[:50])
    await there.restart_front()
    await there.front.until_phase("r1", "READY")
    assert "cannot read the certificate; going on with the former" in log_of(node)


async def test_a_clock_that_went_back_is_told(there: Installation, node: Node) -> None:
    await joined(there, node)
    path = node.state_dir / "clock.json"
    path.write_text(json.dumps({"latest_s": time.time() + 2 * 365 * 86_400}))
    code, said = await told(node, "doctor")
    assert code == 1
    assert re.search(r"fail\s+clock\s+says .* was seen here before", said)
    node.command("run")
    await there.front.until(lambda: there.front.hellos, "attached all the same")
    # It renews at once, since nobody knows what time it is; the new certificate says.
    await until_log(node, "the certificate is renewed")
    assert json.loads(path.read_text())["latest_s"] < time.time()


async def test_another_name_than_the_joined_one_is_refused(there: Installation, node: Node) -> None:
    await joined(there, node)
    for option, value in (("--node", "n2"), ("--site", "s2")):
        code, said = await told(node, "run", option, value)
        assert code == 1
        assert f"leave {option} out, or give another --state-dir" in said


def test_this_machine_has_no_token_in_its_environment() -> None:
    assert "SKERRY_TOKEN" not in os.environ
