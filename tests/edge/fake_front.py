"""A front for tests: link/v1 on a real grpc.aio server, driven by hand."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio

from protos.link.v1 import link_pb2 as pb
from protos.link.v1 import link_pb2_grpc
from workers.artifacts.digest import Digest
from workers.artifacts.manifest import manifest_of
from workers.artifacts.signing import SigningKey
from workers.identity.folder import IdentityFolder
from workers.identity.keys import certificates_from_pem
from workers.identity.names import Identity
from workers.identity.tls import caller, server_credentials

WAIT_S = 20.0  # bounds every wait; nothing here takes a tenth of it


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class FakeFront(
    link_pb2_grpc.NodeLinkServicer,
    link_pb2_grpc.BulkServicer,
    link_pb2_grpc.RelayServicer,
    link_pb2_grpc.ProbeServicer,
):
    """Remembers what came; says what it is told to say."""

    def __init__(self, name: str = "f1", capabilities: tuple[str, ...] = ()) -> None:
        """Without capabilities it is a front of an earlier release."""
        self.name, self.capabilities = name, capabilities
        self._sent: asyncio.Queue[pb.FrontMessage] = asyncio.Queue()
        self.assignment: pb.Assignment | None = None
        self.refuse: tuple[grpc.StatusCode, str] | None = None
        self.artifacts: dict[str, bytes] = {}
        self.sent_bytes = 0  # of artifacts
        self.spoil: Callable[[int, bytes], bytes | None] | None = None  # (offset, data) -> data, or None: cut off
        self.fronts: list[str] = []  # told in the welcome
        self.hellos: list[pb.NodeHello] = []
        self.callers: list[tuple[Identity, int]] = []  # who attached over TLS, by which certificate
        self.reports: list[pb.NodeReport] = []
        self.heartbeats = 0
        self.beats_s: list[float] = []  # when signs of life came
        self.fetches: list[pb.FetchRequest] = []
        self.relay_hellos: list[pb.RelayHello] = []
        self.peers: dict[str, set[str]] = {"control": set(), "bulk": set(), "relay": set(), "probe": set()}
        self.port = 0
        self._heard = asyncio.Event()
        self._assigned = asyncio.Event()
        self._ended = asyncio.Event()
        self._server: grpc.aio.Server | None = None
        self._to_node: asyncio.Queue[pb.RelayCall] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[pb.RelayResult]] = {}
        self._calls = 0

    async def start(self, port: int = 0, identity: IdentityFolder | None = None) -> None:
        """With an identity it speaks TLS, and asks callers for theirs."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        link_pb2_grpc.add_NodeLinkServicer_to_server(self, self._server)
        link_pb2_grpc.add_BulkServicer_to_server(self, self._server)
        link_pb2_grpc.add_RelayServicer_to_server(self, self._server)
        link_pb2_grpc.add_ProbeServicer_to_server(self, self._server)
        address = f"127.0.0.1:{port}"
        if identity:
            self.port = self._server.add_secure_port(address, server_credentials(identity))
        else:
            self.port = self._server.add_insecure_port(address)
        await self._server.start()

    async def stop(self) -> None:
        if self._server:
            await self._server.stop(None)
            self._server = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def add(self, data: bytes) -> pb.Artifact:
        self.artifacts[digest_of(data)] = data
        return pb.Artifact(digest=digest_of(data), size_bytes=len(data), format="tflite")

    def end(self, code: grpc.StatusCode, said: str) -> None:
        """The attachment that is open ends with this, and every other that is tried."""
        self.refuse = (code, said)
        self._ended.set()

    def add_chunked(
        self, data: bytes, namespace: str = "default", chunk_bytes: int = 1000, key: SigningKey | None = None
    ) -> pb.Artifact:
        """With a manifest of even chunks, signed if there is a key."""
        artifact = self.add(data)
        pieces = [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]
        sums = [(len(piece), hashlib.sha256(piece).digest()) for piece in pieces]
        manifest = manifest_of(Digest(artifact.digest), len(data), "tflite", namespace, sums)
        artifact.manifest = self.add(manifest.encode()).digest
        if key is not None:
            artifact.signature = self.add(key.sign("model.tflite", artifact.digest, artifact.manifest)).digest
        return artifact

    def assign(self, revision: int, *replicas: pb.ReplicaAssignment, **fields: Any) -> None:
        self.assignment = pb.Assignment(revision=revision, replicas=replicas, **fields)
        self._assigned.set()

    async def until(self, fulfilled: Callable[[], Any], what: str) -> None:
        """Wait until a condition holds; it is looked at whenever something comes from the node."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not fulfilled():
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            raise AssertionError(f"{what} did not happen; last report: {self.reports[-1:]}") from None

    def state(self, replica: str) -> pb.ReplicaState:
        """As last reported; an empty one if it was not."""
        states = self.reports[-1].replicas if self.reports else []
        return next((state for state in states if state.replica == replica), pb.ReplicaState())

    async def until_phase(self, replica: str, phase: str) -> pb.ReplicaState:
        value = pb.ReplicaPhase.Value(f"REPLICA_PHASE_{phase}")
        await self.until(lambda: self.state(replica).phase == value, f"{replica} {phase}")
        return self.state(replica)

    async def relay(self, method: str, payload: bytes, **fields: Any) -> pb.RelayResult:
        return await self.relay_started(method, payload, **fields)[1]

    def relay_started(self, method: str, payload: bytes, **fields: Any) -> tuple[int, "asyncio.Future[pb.RelayResult]"]:
        self._calls += 1
        future: asyncio.Future[pb.RelayResult] = asyncio.get_running_loop().create_future()
        self._answers[self._calls] = future
        full = f"/inference.GRPCInferenceService/{method}"
        request = pb.RelayRequest(method=full, payload=payload, **{"timeout_ms": 10_000, **fields})
        self._to_node.put_nowait(pb.RelayCall(call=self._calls, request=request))
        return self._calls, future

    def relay_cancel(self, call: int) -> None:
        self._to_node.put_nowait(pb.RelayCall(call=call, cancel=True))

    async def Attach(self, request_iterator: AsyncIterator[pb.NodeMessage], context: Any) -> None:  # noqa: N802
        self.peers["control"].add(context.peer())
        self.hellos.append((await context.read()).hello)
        for pem in context.auth_context().get("x509_pem_cert", ()):
            identity, _ = caller(context.auth_context())
            self.callers.append((identity, certificates_from_pem(pem, "the caller's")[0].serial_number))
        if self.refuse:
            self._heard.set()
            await context.abort(*self.refuse)
        welcome = pb.FrontWelcome(front=self.name, heartbeat_ms=100, session=f"session-{len(self.hellos)}")
        welcome.fronts.extend(self.fronts)
        welcome.software.capabilities.extend(self.capabilities)
        await context.write(pb.FrontMessage(welcome=welcome))
        self._assigned.set()
        writing, reading = asyncio.create_task(self._push(context)), asyncio.create_task(self._hear(context))
        ending = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait([reading, ending], return_when=asyncio.FIRST_COMPLETED)
            if self.refuse:
                await context.abort(*self.refuse)
        finally:
            for task in (writing, reading, ending):
                task.cancel()

    async def _hear(self, context: Any) -> None:
        while (message := await context.read()) is not grpc.aio.EOF:
            self.beats_s.append(time.monotonic())
            if message.WhichOneof("kind") == "report":
                self.reports.append(message.report)
            else:
                self.heartbeats += 1
            self._heard.set()

    def tell(self, message: pb.FrontMessage) -> None:
        """To the node that is attached; beside its assignment."""
        self._sent.put_nowait(message)
        self._assigned.set()

    async def _push(self, context: Any) -> None:
        while True:
            await self._assigned.wait()
            self._assigned.clear()
            while not self._sent.empty():
                await context.write(self._sent.get_nowait())
            if self.assignment:
                await context.write(pb.FrontMessage(assignment=self.assignment))

    async def Fetch(self, request: pb.FetchRequest, context: Any) -> None:  # noqa: N802
        self.peers["bulk"].add(context.peer())
        self.fetches.append(request)
        data = self.artifacts.get(request.digest)
        if data is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such artifact")
            return
        spans = [(each.offset, each.offset + each.size_bytes) for each in request.ranges]
        for start, end in spans or [(request.offset, len(data))]:
            for offset in range(start, end, 1000):
                piece = data[offset : min(offset + 1000, end)]
                sent = self.spoil(offset, piece) if self.spoil else piece
                if sent is None:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "cut off")
                self.sent_bytes += len(sent)
                await context.write(pb.FetchChunk(offset=offset, data=sent, total_bytes=len(data)))

    async def Serve(self, request_iterator: AsyncIterator[pb.RelayAnswer], context: Any) -> None:  # noqa: N802
        self.peers["relay"].add(context.peer())
        self.relay_hellos.append((await context.read()).hello)
        self._heard.set()
        writing = asyncio.create_task(self._relay_down(context))
        try:
            while (answer := await context.read()) is not grpc.aio.EOF:
                self._answers.pop(answer.call).set_result(answer.result)
        finally:
            writing.cancel()

    async def _relay_down(self, context: Any) -> None:
        while True:
            await context.write(await self._to_node.get())

    async def Echo(self, request: pb.EchoRequest, context: Any) -> pb.EchoReply:  # noqa: N802
        self.peers["probe"].add(context.peer())
        return pb.EchoReply(payload=bytes(request.reply_bytes))
