"""The control API for the command: statuses become failures with a remedy, a broken watch resumes."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TypeAlias, cast

import grpc

from orchestrator.cli.failures import CommandFailed, ListAgain, Missing, Rejected, SeveralFailed, Unreachable
from orchestrator.cli.identity import channel_to
from orchestrator.settings import host_port
from protos.control.v1 import control_pb2 as pb
from protos.control.v1 import control_pb2_grpc

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Document: TypeAlias = dict[str, Json]

OWNER = "command"
ERROR_KEY = "skerry-error"  # see orchestrator/api/codes.py
CALL_TIMEOUT_S = 30.0
PLAN_TIMEOUT_S = 150.0  # a plan of 10,000 sites is to take a minute, and one may run before it
REPLAY_TIMEOUT_S = 330.0  # the control plane gives up after 300 s, and says why
PUSH_TIMEOUT_S = 3_600.0
REMEDIES = {
    grpc.StatusCode.ABORTED: "somebody else changed it in the meantime: read it again with `skerry get`, then repeat",
    grpc.StatusCode.INTERNAL: "see the logs/ folder in the state folder (`skerry status` names the parts)",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "one message holds at most 64 MiB: split the input",
}


def document_in(message: pb.Object) -> Document:
    """apiVersion, kind, metadata, spec, status."""
    document = json.loads(message.document_json)
    return document if isinstance(document, dict) else {}


def status_in(err: grpc.RpcError) -> tuple[grpc.StatusCode, str, str]:
    """Code, details, and the error's class at the other end ("" where the other end did not speak)."""
    call = cast(grpc.Call, err)  # whatever a stub raises is both
    named = next((str(value) for key, value in call.trailing_metadata() or () if key == ERROR_KEY), "")
    return call.code(), call.details() or call.code().name, named


def failure_of(err: grpc.RpcError, address: str) -> CommandFailed:
    """What a status means to the person at the terminal."""
    code, details, named = status_in(err)
    if code is grpc.StatusCode.UNAVAILABLE and not named:
        return Unreachable(f"control plane not reachable at {address}", "is `skerry up` running?")
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            return Unreachable(details)
        case grpc.StatusCode.NOT_FOUND:
            return Missing(details)
        case grpc.StatusCode.OUT_OF_RANGE:
            return ListAgain(details)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return CommandFailed(f"no answer from {address} in time", "see whether it is overloaded: `skerry status`")
        case grpc.StatusCode.UNIMPLEMENTED:
            return CommandFailed(f"what listens at {address} does not speak control/v1", "give its address: --control")
        case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.FAILED_PRECONDITION if "\n" in details:
            return SeveralFailed(details.split("\n"))
        case grpc.StatusCode.INVALID_ARGUMENT:
            return Rejected(details)
        case _:
            return CommandFailed(details, REMEDIES.get(code, ""))


class ControlClient:
    """One connection to one control plane; every call has a deadline and raises CommandFailed."""

    def __init__(self, address: str, timeout_s: float = CALL_TIMEOUT_S) -> None:
        """`timeout_s`: of a call that is no stream. Raises InvalidRequest, CommandFailed."""
        self.address, self._timeout_s = host_port("--control", address), timeout_s
        self._channel = channel_to(address, "control")
        self._stub = control_pb2_grpc.ControlStub(self._channel)

    def __enter__(self) -> "ControlClient":
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self._channel.close()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as err:
            raise failure_of(err, self.address) from err

    def apply(self, documents: Sequence[Document], dry_run: bool) -> list[pb.ApplyReply.Result]:
        request = pb.ApplyRequest(documents_json=[json.dumps(one) for one in documents], owner=OWNER, dry_run=dry_run)
        with self._reported():
            return list(self._stub.Apply(request, timeout=self._timeout_s).results)

    def get(self, ref: pb.ObjectRef) -> pb.Object:
        with self._reported():
            return self._stub.Get(ref, timeout=self._timeout_s)

    def list_objects(self, kind: str, namespace: str) -> pb.ListReply:
        with self._reported():
            return self._stub.List(pb.ListRequest(kind=kind, namespace=namespace), timeout=self._timeout_s)

    def delete(self, ref: pb.ObjectRef) -> pb.Object:
        with self._reported():
            return self._stub.Delete(pb.DeleteRequest(ref=ref), timeout=self._timeout_s)

    def schedule_node(self, node: str, action: str) -> pb.Object:
        with self._reported():
            request = pb.ScheduleNodeRequest(node=node, action=action)
            return self._stub.ScheduleNode(request, timeout=self._timeout_s)

    def explain(
        self, namespace: str, service: str, site: str, view: bool = False, remedies: bool = False
    ) -> pb.ExplainReply:
        """`remedies`: with what would help unserved demands, for which the control plane makes some plans."""
        request = pb.ExplainRequest(namespace=namespace, service=service, site=site, view=view, remedies=remedies)
        with self._reported():
            return self._stub.Explain(request, timeout=PLAN_TIMEOUT_S if remedies else self._timeout_s)

    def plan(self, documents: Sequence[Document], view: bool = False) -> pb.PlanReply:
        request = pb.PlanRequest(documents_json=[json.dumps(one) for one in documents], owner=OWNER, view=view)
        with self._reported():
            return self._stub.Plan(request, timeout=PLAN_TIMEOUT_S)

    def decisions(self, id: str) -> pb.DecisionsReply:
        with self._reported():
            return self._stub.Decisions(pb.DecisionsRequest(id=id), timeout=CALL_TIMEOUT_S)

    def replay(self, decision: str, policy: Document | None) -> pb.ReplayReply:
        request = pb.ReplayRequest(decision=decision, policy_json="" if policy is None else json.dumps(policy))
        with self._reported():
            return self._stub.Replay(request, timeout=REPLAY_TIMEOUT_S)

    def status(self) -> pb.StatusReply:
        with self._reported():
            return self._stub.Status(pb.StatusRequest(), timeout=self._timeout_s)

    def create_token(
        self, site: str, uses: int, ttl_s: float, labels: Mapping[str, str], tokens: int
    ) -> pb.CreateTokenReply:
        request = pb.CreateTokenRequest(site=site, uses=uses, ttl_s=ttl_s, labels=labels, tokens=tokens)
        with self._reported():
            return self._stub.CreateToken(request, timeout=self._timeout_s)

    def certify(self, role: str, name: str, request_pem: bytes, hosts: Sequence[str]) -> pb.CertifyReply:
        request = pb.CertifyRequest(role=role, name=name, request_pem=request_pem, hosts=hosts)
        with self._reported():
            return self._stub.Certify(request, timeout=self._timeout_s)

    def tokens(self) -> list[pb.Token]:
        with self._reported():
            return list(self._stub.ListTokens(pb.ListTokensRequest(), timeout=self._timeout_s).tokens)

    def revoke_token(self, id: str) -> pb.Token:
        with self._reported():
            return self._stub.RevokeToken(pb.RevokeTokenRequest(id=id), timeout=self._timeout_s)

    def train(self, document: Document) -> Iterator[pb.TrainProgress]:
        """Until the job ends: no deadline, since training takes what it takes."""
        request = pb.TrainRequest(document_json=json.dumps(document), owner=OWNER)
        with self._reported():
            yield from self._stub.Train(request)

    def logs(self, ref: pb.ObjectRef, follow: bool) -> Iterator[str]:
        with self._reported():
            for line in self._stub.Logs(pb.LogsRequest(ref=ref, follow=follow)):
                yield line.line

    def push(self, header: pb.PushHeader, data: Iterable[bytes]) -> pb.Object:
        def chunks() -> Iterator[pb.PushChunk]:
            yield pb.PushChunk(header=header)
            for one in data:
                yield pb.PushChunk(data=one)

        with self._reported():
            return self._stub.Push(chunks(), timeout=PUSH_TIMEOUT_S)

    def watch(self, sequence: int, kind: str, namespace: str, until_s: float | None) -> Iterator[pb.Change]:
        """Changes after `sequence` until the monotonic time `until_s`; a lost connection resumes where it was.

        Raises ListAgain when the log was compacted, Unreachable when no control plane came back for 30 s.
        """
        lost_s: float | None = None
        while (left_s := None if until_s is None else until_s - time.monotonic()) is None or left_s > 0:
            request = pb.WatchRequest(from_sequence=sequence, kind=kind, namespace=namespace)
            try:
                for change in self._stub.Watch(request, timeout=left_s):
                    sequence, lost_s = change.sequence, None
                    yield change
            except grpc.RpcError as err:
                if status_in(err)[0] is grpc.StatusCode.DEADLINE_EXCEEDED:
                    return  # the watch's own
                failure = failure_of(err, self.address)
                lost_s = time.monotonic() if lost_s is None else lost_s
                if not isinstance(failure, Unreachable) or time.monotonic() - lost_s > CALL_TIMEOUT_S:
                    raise failure from err
            time.sleep(0.5 if left_s is None else min(0.5, left_s))
