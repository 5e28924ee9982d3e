"""What doctor says of a node, sound and with each thing wrong; it changes nothing on the way."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import DENSE, Node
from fake_enrolment import FakeEnrolment
from fake_front import FakeFront, digest_of

from tests.authority import DAY, TestAuthority, now
from workers.artifacts.digest import hex_of
from workers.edge import membership
from workers.edge.assignment import Artifact, Assignment, Content, ReplicaAssignment
from workers.edge.doctor import Check, State, as_table, examine
from workers.edge.membership import Membership
from workers.edge.plan import Plan, save_plan
from workers.edge.state import StateFolder
from workers.identity.folder import IdentityFolder, folder_of
from workers.identity.names import Role

pytestmark = pytest.mark.real


@dataclass
class Sound:
    """A node that has joined, holds a model, and could serve."""

    root: Path
    authority: TestAuthority
    identity: IdentityFolder  # of the front
    front: FakeFront
    enrolment: FakeEnrolment

    @property
    def model(self) -> Path:
        return self.root / "artifacts" / "sha256" / hex_of(digest_of(DENSE))

    async def examined(self) -> dict[str, Check]:
        before = contents(self.root)
        checks = await examine(self.root)
        assert contents(self.root) == before
        for check in checks:
            assert bool(check.remedy) == (check.state is not State.OK), check
        return {check.name.partition(" 127.")[0]: check for check in checks}

    def change(self, **fields: Any) -> None:
        joined = membership.load(self.root)
        assert joined
        membership.save(self.root, replace(joined, **fields))


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
async def sound(tmp_path: Path) -> AsyncIterator[Sound]:
    root, authority, front = tmp_path / "state", TestAuthority(), FakeFront()
    identity = authority.enrol(tmp_path / "front", Role.FRONT, "f1")
    await front.start(identity=identity)
    enrolment = FakeEnrolment(authority, [front.address])
    await enrolment.start(identity)
    state = StateFolder(root)
    artifact = Artifact(digest_of(DENSE), len(DENSE), "tflite")
    content = Content("r1", "default", "dense", "v1", artifact)
    state.save_assignment(Assignment(3, (ReplicaAssignment(content, 1 << 20, "d1", 3600, draining=False),)))
    state.close()
    authority.enrol(root / "identity", Role.NODE, "n1", "s1")
    joined = Membership("n1", "s1", (front.address,), (enrolment.address,), (authority.pin,))
    membership.save(root, joined)
    save_plan(root, Plan(time.time() + 1000, time.time() + 2000))
    node = Sound(root, authority, identity, front, enrolment)
    node.model.parent.mkdir(parents=True)
    node.model.write_bytes(DENSE)
    yield node
    await front.stop()
    await enrolment.stop()


async def test_of_a_sound_node_it_only_says_that_no_agent_runs(sound: Sound) -> None:
    checks = await sound.examined()
    found = {name: check.found for name, check in checks.items()}
    assert {name for name, check in checks.items() if check.state is not State.OK} == {"agent"}
    assert "node n1 of site s1" in found["membership"]
    assert "valid from" in found["identity"]
    assert found["front"] == "front f1 answers"
    assert found["enrolment"] == "answers"
    assert found["assignment"] == "revision 3, 1 replicas"
    assert found["model runtime"].startswith("LiteRT loads")
    table = as_table(list(checks.values()))
    assert "warn  agent" in table
    assert "-> start it: `skerry-edge run" in table
    assert table.endswith("1 warn, 0 fail")


async def test_the_command_prints_and_its_exit_code_says_if_anything_fails(sound: Sound, node: Node) -> None:
    node.state_dir = sound.root
    done = await asyncio.to_thread(node.told, "doctor")
    assert done.returncode == 0
    assert "ok    identity" in done.stdout
    await sound.front.stop()
    done = await asyncio.to_thread(node.told, "doctor", "-o", "json")
    assert done.returncode == 1
    (front,) = [check for check in json.loads(done.stdout) if check["state"] == "fail"]
    assert front["name"] == f"front {sound.front.address}"
    assert "cannot be reached" in front["found"]
    node.state_dir = sound.root / "nowhere"
    done = await asyncio.to_thread(node.told, "doctor")
    assert done.returncode == 1
    assert "is no folder" in done.stdout


@pytest.mark.parametrize(
    ("name", "check", "remedy"),
    [
        ("identity/key.pem", "identity", "--anew --token T"),
        ("identity/certificate.pem", "identity", "asks for another by its key"),
        ("identity/authority.pem", "identity", "asks for another by its key"),
        ("assignment.pb", "assignment", "restore the link to a front"),
        ("artifacts/sha256/model", "artifact", "restart the agent"),
    ],
)
async def test_a_spoilt_file_is_told_with_what_mends_it(sound: Sound, name: str, check: str, remedy: str) -> None:
    path = sound.model if name.endswith("model") else sound.root / name
    data = path.read_bytes()
    path.write_bytes(data[:80] + bytes([data[80] ^ 1]) + data[81:])
    found = (await sound.examined())[check]
    assert found.state is State.FAIL
    assert remedy in found.remedy
    path.write_bytes(data[:-200])
    assert (await sound.examined())[check].state is State.FAIL


async def test_two_spoilt_copies_of_the_membership_are_told(sound: Sound) -> None:
    for name in membership.NAMES:
        (sound.root / name).write_bytes(b"{}")
    found = (await sound.examined())["membership"]
    assert found.state is State.FAIL
    assert "join again with a new token" in found.remedy


async def test_a_lost_model_is_on_its_way(sound: Sound) -> None:
    sound.model.unlink()
    checks = await sound.examined()
    assert checks["artifact"].state is State.WARN
    assert "no small model" in checks["model runtime"].found


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [(-9, -1, "this machine's clock says"), (1, 9, "this machine's clock says")],
    ids=["expired", "not yet valid"],
)
async def test_a_certificate_out_of_time_is_told_with_both_dates(
    sound: Sound, begins: int, ends: int, said: str
) -> None:
    dates = (now() + begins * DAY, now() + ends * DAY)
    folder = folder_of(sound.root)
    folder.save(sound.authority.issue(folder.key(), Role.NODE, "n1", "s1", *dates), sound.authority.pem)
    checks = await sound.examined()
    assert checks["identity"].state is State.FAIL
    assert said in checks["identity"].found
    assert f"{dates[1]:%Y-%m-%d}" in checks["identity"].found
    assert "clock" in checks["identity"].remedy
    if ends < 0:
        assert checks["front"].state is State.FAIL
        assert "may refuse this node's certificate" in checks["front"].remedy


@pytest.mark.parametrize(
    ("plan", "state", "said"),
    [
        (Plan(due_s=1.0), State.WARN, "due since 1970"),
        (Plan(due_s=1e10, failed="nobody there"), State.WARN, "the last try: nobody there"),
        (Plan(revoked="key ab was revoked"), State.FAIL, "the node was revoked: key ab was revoked"),
        (Plan(due_s=time.time() + 1000), State.OK, "due "),
    ],
)
async def test_what_became_of_renewal_is_told(sound: Sound, plan: Plan, state: State, said: str) -> None:
    save_plan(sound.root, plan)
    found = (await sound.examined())["renewal"]
    assert found.state is state
    assert said in found.found


async def test_a_key_that_others_may_read_is_told(sound: Sound) -> None:
    key = sound.root / "identity" / "key.pem"
    key.chmod(0o644)
    found = (await sound.examined())["key"]
    assert (found.state, found.remedy) == (State.WARN, f"chmod 600 {key}")


async def test_a_clock_that_went_back_is_told(sound: Sound) -> None:
    (sound.root / "clock.json").write_text(json.dumps({"latest_s": time.time() + 9e6}))
    assert (await sound.examined())["clock"].state is State.FAIL


async def test_fronts_that_are_not_what_they_should_be_are_told_apart(sound: Sound, tmp_path: Path) -> None:
    with closing(socket.socket()) as silent, closing(socket.socket()) as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        closed.bind(("127.0.0.1", 0))  # and does not listen
        plain = FakeFront()
        await plain.start()
        stranger = FakeFront()
        await stranger.start(identity=TestAuthority().enrol(tmp_path / "stranger", Role.FRONT, "f9"))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (silent, closed)]
        addresses += [plain.address, stranger.address, sound.enrolment.address, "no-such-host.invalid:7071"]
        sound.change(fronts=tuple(addresses))
        checks = await examine(sound.root)
        await plain.stop()
        await stranger.stop()
    found = [next(check for check in checks if check.name == f"front {address}") for address in addresses]
    assert {check.state for check in found} == {State.FAIL}
    assert "no answer" in found[0].found
    assert "cannot be reached" in found[1].found
    assert "does not speak TLS" in found[2].found
    assert "front f9 answers UNAVAILABLE" in found[3].found
    assert "UNIMPLEMENTED" in found[4].found
    assert "link address" in found[4].remedy
    assert "cannot be reached" in found[5].found


async def test_an_enrolment_address_that_is_away_is_a_warning(sound: Sound) -> None:
    await sound.enrolment.stop()
    found = (await sound.examined())["enrolment"]
    assert found.state is State.WARN
    assert "the agent goes on trying" in found.remedy


async def test_a_lan_port_that_is_taken_is_told_while_no_agent_runs(sound: Sound) -> None:
    sound.change(lan=sound.front.address)
    found = (await sound.examined())["LAN"]
    assert found.state is State.FAIL
    assert "Address already in use" in found.found
    sound.change(lan="127.0.0.1:0")
    assert (await sound.examined())["LAN"].state is State.OK


async def test_of_a_running_agent_the_port_is_tried(sound: Sound) -> None:
    state = StateFolder(sound.root)
    state.save_status({"lan_address": sound.front.address})
    checks = await sound.examined()
    assert checks["agent"] == Check("agent", State.OK, "runs")
    assert f"the agent listens on {sound.front.address}" in checks["LAN"].found
    await sound.front.stop()
    assert (await sound.examined())["LAN"].state is State.FAIL
    state.close()


async def test_an_agent_that_is_not_attached_is_told_with_the_reason(sound: Sound) -> None:
    state = StateFolder(sound.root)
    state.save_status({"link_problem": "UNAVAILABLE: Socket closed"})
    assert (await sound.examined())["agent"].state is State.WARN
    state.save_status({"link_problem": "PERMISSION_DENIED: key 12ab was revoked"})
    found = (await sound.examined())["agent"]
    state.close()
    assert found.state is State.FAIL
    assert "key 12ab was revoked" in found.found
    assert "--anew --token T" in found.remedy


async def test_one_front_of_several_that_is_away_is_a_warning(sound: Sound) -> None:
    with closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))
        away = f"127.0.0.1:{closed.getsockname()[1]}"
        sound.change(fronts=(away, sound.front.address))
        checks = {check.name: check.state for check in await examine(sound.root)}
    assert checks[f"front {away}"] is State.WARN
    assert checks[f"front {sound.front.address}"] is State.OK


async def test_a_node_in_plain_text_is_examined_too(tmp_path: Path) -> None:
    front = FakeFront()
    await front.start()
    state = StateFolder(tmp_path)
    state.save_status({"front": front.address})
    state.close()
    checks = {check.name: check for check in await examine(tmp_path)}
    await front.stop()
    assert checks["membership"].state is State.WARN
    assert checks[f"front {front.address}"].state is State.OK
    assert not [check for check in checks.values() if check.state is State.FAIL]
