"""The control plane as one asyncio program: its loops and its server. No Ray: deployment.py wraps it for Serve."""

import asyncio
import datetime
import itertools
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator

from orchestrator.api.servicer import serve_control
from orchestrator.authority.opening import open_authority
from orchestrator.authority.parts import Authority, certify_part
from orchestrator.clock import Clock
from orchestrator.control.board import Board
from orchestrator.control.enrolment_link import EnrolmentServicer
from orchestrator.control.full_plans import FullPlans
from orchestrator.control.guard import Guard
from orchestrator.control.housekeeping import Housekeeping
from orchestrator.control.jobs import TrainingLoop
from orchestrator.control.joining import Joining
from orchestrator.control.leader import RENEW_AT, Leader
from orchestrator.control.links import FrontLinkServicer, ReplicaLinkServicer
from orchestrator.control.observations import Observations
from orchestrator.control.papers import ArtifactPapers
from orchestrator.control.placing import PlacementLoop
from orchestrator.control.plane import Plane
from orchestrator.control.seams import Cloud, Store, Trainer
from orchestrator.control.trusting import TrustFolder
from orchestrator.errors import InvalidRequest, OrchestratorError, Unavailable
from orchestrator.model.ids import SiteName
from orchestrator.model.stored import Lease, Retention
from orchestrator.settings import Settings, is_loopback, named_host
from protos.link.v1 import link_pb2_grpc
from workers.artifacts.describing import Describer
from workers.artifacts.errors import KeyUnusable
from workers.artifacts.library import ArtifactLibrary
from workers.artifacts.signing import SigningKey
from workers.identity.errors import IdentityError
from workers.identity.folder import IdentityFolder
from workers.identity.names import Role
from workers.identity.tls import server_credentials
from workers.probe.servicer import ProbeServicer

log = logging.getLogger(__name__)

CERTIFY_EVERY_S = 600.0


def replica_suffixes() -> Iterator[str]:
    """Unique over restarts: a replica's id is never used again."""
    boot = secrets.token_hex(3)
    return (f"{boot}-{n}" for n in itertools.count())


async def run_plane(
    settings: Settings, store: Store, cloud: Cloud, trainer: Trainer, clock: Clock, on_ready: Callable[[], None]
) -> None:
    """Serve the control API and the links, and run the loops while this process leads."""
    observations, board = Observations(), Board()
    holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    leader = Leader(store, holder, settings.lease_ttl_s, clock)
    describer = await asyncio.to_thread(_describer, settings)
    trusted = TrustFolder(settings.pki_dir, describer.key.public_der, settings.revocations_valid_s)
    papers = await asyncio.to_thread(ArtifactPapers, describer, trusted, clock)
    full_plans = FullPlans(clock, settings.plan_all_pairs, settings.plan_all_every_s)
    ids = replica_suffixes()
    placing = PlacementLoop(store, cloud, observations, board, clock, settings.region, ids, full_plans, papers)
    training = TrainingLoop(store, trainer, describer, clock, SiteName(settings.region), settings.state_dir / "jobs")
    retention = Retention(settings.decisions_kept, settings.decisions_kept_days)
    housekeeping = Housekeeping(store, clock, retention)
    authority = await asyncio.to_thread(open_authority, settings.authority, _utc(clock))
    joining = Joining(store, authority, clock, observations.front_addresses)
    plane = Plane(
        store,
        describer,
        observations,
        placing,
        training,
        leader,
        clock,
        settings.region,
        settings.state_dir / "incoming",
        retention,
        joining,
    )
    identity = IdentityFolder(settings.identity_dir("control"))
    secured = not is_loopback(settings.control_address)
    if secured:
        _certify(settings, identity, authority, clock)
    server = await serve_control(
        plane,
        settings.control_address,
        [
            lambda s: link_pb2_grpc.add_FrontLinkServicer_to_server(FrontLinkServicer(observations, board, clock), s),
            lambda s: link_pb2_grpc.add_ReplicaLinkServicer_to_server(ReplicaLinkServicer(observations), s),
            lambda s: link_pb2_grpc.add_EnrolmentServicer_to_server(EnrolmentServicer(joining, authority), s),
            lambda s: link_pb2_grpc.add_ProbeServicer_to_server(ProbeServicer(), s),
        ],
        server_credentials(identity) if secured else None,
        [Guard()] if secured else (),
    )
    on_ready()
    try:
        async with asyncio.TaskGroup() as tasks:
            # Each beside the others: what is slow at one must delay neither the lease nor the routes.
            tasks.create_task(_renew(leader, settings.lease_ttl_s * RENEW_AT / 2))
            tasks.create_task(_lead(leader.held, settings.tick_s, placing.tick))
            tasks.create_task(_lead(leader.held, settings.tick_s, training.tick))
            tasks.create_task(_lead(leader.held, settings.tick_s, housekeeping.tick))
            tasks.create_task(papers.run())
            if secured:
                tasks.create_task(_keep_certified(settings, identity, authority, clock))
    finally:
        await server.stop(1.0)
        await leader.release()


def _certify(settings: Settings, identity: IdentityFolder, authority: Authority, clock: Clock) -> None:
    """Its own certificate, where it is due. Raises Unavailable."""
    hosts = sorted({*settings.hosts, *named_host(settings.control_address)})
    try:
        certify_part(authority, identity, Role.CONTROL, "control", hosts, _utc(clock))
    except (IdentityError, OSError) as err:
        raise Unavailable(f"certificate of the control plane in {identity.root}: {err}") from err


async def _keep_certified(settings: Settings, identity: IdentityFolder, authority: Authority, clock: Clock) -> None:
    while True:
        await asyncio.sleep(CERTIFY_EVERY_S)
        try:
            await asyncio.to_thread(_certify, settings, identity, authority, clock)
        except Unavailable as err:  # what it has is good for days
            log.error("certificate not renewed", extra={"reason": str(err)})


def _utc(clock: Clock) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(clock.wall_s(), datetime.UTC)


def _describer(settings: Settings) -> Describer:
    """Blocks on the library. Raises InvalidRequest for a key that cannot sign."""
    try:
        key = SigningKey.opened(settings.signing_key)
    except (KeyUnusable, OSError) as err:
        raise InvalidRequest("SKERRY_SIGNING_KEY", str(settings.signing_key), str(err)) from err
    return Describer(ArtifactLibrary(settings.artifacts), key)


async def _renew(leader: Leader, every_s: float) -> None:
    while True:
        try:
            await leader.hold()
        except OrchestratorError as err:
            log.warning("lease not renewed", extra={"reason": str(err)})
        await asyncio.sleep(every_s)


async def _lead(
    lease_now: Callable[[], Awaitable[Lease | None]], tick_s: float, tick: Callable[[Lease], Awaitable[None]]
) -> None:
    """Tick while this process leads. What may pass with time is tried again; a bug ends the process."""
    while True:
        try:
            lease = await lease_now()
            if lease is not None:
                await tick(lease)
        except OrchestratorError as err:
            log.warning("tick failed", extra={"reason": str(err)})
        await asyncio.sleep(tick_s)
