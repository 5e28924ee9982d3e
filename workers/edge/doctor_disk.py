"""What doctor finds on the machine itself: state folder, identity, clock, assignment, model runtime."""

import datetime
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grpc

from workers.artifacts.digest import digest_of_file, hex_of
from workers.artifacts.errors import ArtifactError
from workers.edge import membership
from workers.edge.assignment import Assignment
from workers.edge.clock import Clock
from workers.edge.doctor import Check, fail, ok, warn
from workers.edge.errors import StateFolderUnusable
from workers.edge.plan import plan_of
from workers.edge.state import read_json, running, saved_assignment
from workers.identity.errors import IdentityError, NotEnrolled
from workers.identity.folder import KEY, Held, folder_of

LEAST_FREE_BYTES = 16 << 20  # the state itself takes less than one
SCARCE_FREE_BYTES = 256 << 20  # a model or two
LOADED_MOST_BYTES = 64 << 20  # a larger model may not fit beside the agent's own copy
REJOIN = "join again with a new token: `skerry-edge join ADDRESS --anew --token T`"


def examine(root: Path) -> list[Check]:
    return [
        _agent(root),
        *_folder(root),
        _joined(root),
        *_identity(root),
        _clock(root),
        *_assignment(root),
        *_runtime(root),
    ]


def _agent(root: Path) -> Check:
    if running(root):
        problem = read_json(root / "status.json").get("link_problem")
        if not isinstance(problem, str) or not problem:
            return ok("agent", "runs")
        if problem.startswith(grpc.StatusCode.PERMISSION_DENIED.name):
            return fail("agent", f"runs, and its front refuses it: {problem}", REJOIN)
        return warn("agent", f"runs, and is not attached: {problem}", "see the checks of each front below")
    return warn("agent", "does not run", f"start it: `skerry-edge run --state-dir {root}`")


def _folder(root: Path) -> Iterator[Check]:
    try:
        with tempfile.TemporaryFile(dir=root) as stream:
            stream.write(b"x" * 4096)
            stream.flush()
    except OSError as err:
        yield fail(
            "state folder", f"{root} cannot be written: {err.strerror}", "free space, or make it this user's own"
        )
    else:
        yield ok("state folder", f"{root} can be written")
    free_bytes = shutil.disk_usage(root).free
    found, remedy = f"{free_bytes >> 20} MiB are free", f"free space on the disk of {root}"
    if free_bytes < LEAST_FREE_BYTES:
        yield fail("disk", found, remedy)
    elif free_bytes < SCARCE_FREE_BYTES:
        yield warn("disk", found, remedy)
    else:
        yield ok("disk", found)


def _joined(root: Path) -> Check:
    try:
        found = membership.load(root)
    except StateFolderUnusable as err:
        return fail("membership", str(err), "join again with a new token: `skerry-edge join ADDRESS --token T`")
    if found is None:
        remedy = "`skerry-edge join ADDRESS --token T`; without, fronts are dialled on loopback only"
        return warn("membership", "this machine has not joined", remedy)
    return ok("membership", f"node {found.node} of site {found.site}, fronts {', '.join(found.fronts)}")


def _identity(root: Path) -> Iterator[Check]:
    folder = folder_of(root)
    try:
        held = folder.held()
    except NotEnrolled:
        return
    except (IdentityError, OSError) as err:
        yield fail("identity", str(err), _mended_by(root))
        return
    yield _certificate(held)
    yield _renewed(root)
    mode = stat.S_IMODE((folder.root / KEY).stat().st_mode)
    if mode & 0o077:
        yield warn("key", f"others than its owner may use {folder.root / KEY}", f"chmod 600 {folder.root / KEY}")


def _mended_by(root: Path) -> str:
    """The key is all it takes to get the rest again."""
    try:
        folder_of(root).key_held()
    except (IdentityError, OSError):
        return REJOIN
    return "the running agent asks for another by its key; see `enrolment`"


def _certificate(held: Held) -> Check:
    now = datetime.datetime.now(datetime.UTC)
    begins, ends = held.certificate.not_valid_before_utc, held.certificate.not_valid_after_utc
    found = f"{held.identity}, valid from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC"
    if now < begins:
        remedy = "set this machine's clock"
        return fail("identity", f"{found}, and this machine's clock says {now:%Y-%m-%d %H:%M} UTC", remedy)
    if now > ends:
        remedy = "if this machine's clock is right, see `renewal` for why it was not renewed"
        return fail("identity", f"{found}, and this machine's clock says {now:%Y-%m-%d %H:%M} UTC", remedy)
    return ok("identity", found)


def _renewed(root: Path) -> Check:
    plan = plan_of(root)
    due_s = plan.renew_at_s
    due = f"{datetime.datetime.fromtimestamp(due_s, datetime.UTC):%Y-%m-%d %H:%M} UTC"
    if plan.revoked:
        return fail("renewal", f"the node was revoked: {plan.revoked}", REJOIN)
    if plan.failed:
        return warn("renewal", f"due {due}; the last try: {plan.failed}", "see `enrolment`; it is tried again")
    if due_s < time.time():
        remedy = "start the agent, which renews it" if not running(root) else "see the agent's log"
        return warn("renewal", f"due since {due}", remedy)
    return ok("renewal", f"due {due}")


def _clock(root: Path) -> Check:
    clock = Clock(root)
    says = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    if clock.behind_s():
        found = f"says {says}, and {clock.now():%Y-%m-%d %H:%M} UTC was seen here before"
        return fail("clock", found, "set this machine's clock (a machine without a battery needs NTP)")
    return ok("clock", f"says {says}")


def _assignment(root: Path) -> Iterator[Check]:
    try:
        assignment = saved_assignment(root)
    except (OSError, ValueError) as err:
        remedy = "restore the link to a front, which gives it again; until then nothing is served after a reboot"
        yield fail("assignment", str(err), remedy)
        return
    if assignment is None:
        yield ok("assignment", "none yet")
        return
    yield ok("assignment", f"revision {assignment.revision}, {len(assignment.replicas)} replicas")
    for path in _artifacts(root, assignment):
        yield _artifact(path)


def _artifact(path: Path) -> Check:
    if not path.exists():
        return warn("artifact", f"{path.name[:16]} is not here yet", "the running agent fetches it; see its status")
    try:
        digest, size_bytes = digest_of_file(path)
    except OSError as err:
        return fail("artifact", f"{path} cannot be read: {err.strerror}", "check the disk")
    if hex_of(digest) != path.name:
        return fail("artifact", f"{path.name[:16]} was spoilt on disk", "restart the agent, which fetches it again")
    return ok("artifact", f"{path.name[:16]}, {size_bytes >> 10} KiB")


def _runtime(root: Path) -> Iterator[Check]:
    try:
        from workers.inference.litert import LiteRtModel
    except Exception as err:  # noqa: BLE001 - whatever a broken install raises is what is wrong with it
        yield fail("model runtime", f"LiteRT cannot be loaded: {err}", "install `skerry[edge]` again on this machine")
        return
    for path in _loadable(root):
        try:
            LiteRtModel(path, 1)
        except Exception as err:  # noqa: BLE001 - as above
            yield fail("model runtime", f"{path.name[:16]} does not load: {err}", "push another version of this model")
            return
        yield ok("model runtime", f"LiteRT loads {path.name[:16]}")
        return
    yield ok("model runtime", "LiteRT is there; no small model to try it with")


def _loadable(root: Path) -> Iterator[Path]:
    try:
        assignment = saved_assignment(root)
    except (OSError, ValueError):
        return
    if assignment:
        small = {
            hex_of(each.content.artifact.digest)
            for each in assignment.replicas
            if each.content.artifact.format == "tflite" and each.content.artifact.size_bytes <= LOADED_MOST_BYTES
        }
        for path in _artifacts(root, assignment):
            if path.name in small and path.exists() and hex_of(digest_of_file(path)[0]) == path.name:
                yield path


def _artifacts(root: Path, assignment: Assignment) -> list[Path]:
    names = []
    for replica in assignment.replicas:
        try:
            names.append(hex_of(replica.content.artifact.digest))
        except ArtifactError:
            continue
    return [root / "artifacts" / "sha256" / name for name in dict.fromkeys(names)]
