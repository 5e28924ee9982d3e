"""Between the messages of control/v1 and the words of the control plane. Whatever a stranger sends is checked here."""

import json
import math
import re
from collections.abc import AsyncIterator, Sequence

from orchestrator.api.seams import (
    Applied,
    Explanation,
    KeptDecision,
    KeptDecisions,
    NodeMachine,
    NodeUsage,
    NodeView,
    Planned,
    Progress,
    PushedModel,
    Replay,
    Status,
)
from orchestrator.errors import InvalidRequest, together
from orchestrator.model.ids import DecisionId
from orchestrator.model.nodes import Schedule
from orchestrator.model.stored import Change, Json, Key, Owner, StoredObject
from orchestrator.objects import KINDS, NODE, STORED, document_of
from protos.control.v1 import control_pb2 as pb

MAX_DOCUMENT_BYTES = 1 << 20  # operators' objects are a few KB; etcd's limit for one is 1.5 MB
MAX_DOCUMENTS = 2_000  # of one apply
MAX_MODEL_BYTES = 64 << 30
MODEL_FORMATS = ("tflite", "savedmodel.tar")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
DECISION = re.compile(r"[-\w]{1,64}", re.ASCII)
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # JSON's escape for it, after an even number of backslashes
DEFAULT_NAMESPACE = "default"
DECISIONS, MAX_DECISIONS = 500, 10_000  # of one list


def owner_of(text: str) -> Owner:
    """Who calls. Nobody outside may speak as the control plane itself. Raises InvalidRequest."""
    if text not in (Owner.COMMAND, Owner.OPERATOR):
        raise InvalidRequest("owner", text, 'give "command" or "operator"')
    return Owner(text)


def kind_of(text: str) -> str:
    """Raises InvalidRequest."""
    if text not in STORED:
        raise InvalidRequest("kind", text, f"give one of {', '.join(sorted(STORED))}")
    return text


def name_of(field: str, text: str) -> str:
    """A name that can be looked up; which names may be created is the objects' question. Raises InvalidRequest."""
    if not text or len(text) > 253 or not text.isprintable():
        raise InvalidRequest(field, text, "give a name of 1 to 253 printable characters")
    return text


def key_of(ref: pb.ObjectRef) -> Key:
    """A namespaced kind without namespace is looked up in "default". Raises InvalidRequest."""
    kind, name = kind_of(ref.kind), name_of("name", ref.name)
    if not STORED[kind].namespaced:
        if ref.namespace:
            raise InvalidRequest("namespace", ref.namespace, f"leave it empty: a {kind} belongs to no namespace")
        return Key(kind, "", name)
    return Key(kind, name_of("namespace", ref.namespace or DEFAULT_NAMESPACE), name)


def scope_of(kind: str, namespace: str) -> tuple[str, str | None]:
    """What a list or a watch covers: kind ("": all) and namespace (None: all). Raises InvalidRequest."""
    return (kind_of(kind) if kind else ""), (name_of("namespace", namespace) if namespace else None)


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _no_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"field {twice!r} is given twice")
    return found


def document_from(field: str, text: str) -> dict[str, Json]:
    """One object as JSON. Raises InvalidRequest for whatever is not one: the forms check what is inside."""
    size_bytes = len(text.encode())
    if size_bytes > MAX_DOCUMENT_BYTES:
        raise InvalidRequest(field, text[:60], f"give at most {MAX_DOCUMENT_BYTES} bytes, not {size_bytes}")
    try:
        document = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
        # A lone surrogate (\ud800) is legal JSON that no database and no reply can carry.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as err:
        raise InvalidRequest(field, text[:60], f"give one object as JSON: {str(err) or type(err).__name__}") from err
    if not isinstance(document, dict):
        raise InvalidRequest(field, text[:60], f"give one JSON object, not a {type(document).__name__}")
    if NUL.search(text):
        raise InvalidRequest(field, text[:60], "take out the NUL character (\\u0000): no database holds it in a text")
    return document


def documents_from(texts: Sequence[str]) -> list[dict[str, Json]]:
    if not texts:
        raise InvalidRequest("documents_json", [], "give at least one object")
    if len(texts) > MAX_DOCUMENTS:
        raise InvalidRequest("documents_json", len(texts), f"apply at most {MAX_DOCUMENTS} objects in one call")
    documents: list[dict[str, Json]] = []
    wrong: list[InvalidRequest] = []
    for at, text in enumerate(texts):
        try:
            documents.append(document_from(f"documents_json[{at}]", text))
        except InvalidRequest as err:
            wrong.append(err)
    if wrong:
        raise together(wrong)
    return documents


def published(stored: StoredObject, asked: str) -> bool:
    """Whether the kind is one that operators write: what the control plane keeps for itself stays inside.

    Nodes are told to whoever asks for that kind: all that is told to others can be applied again.
    """
    return stored.key.kind in KINDS or stored.key.kind == asked == NODE.name


def schedule_of(text: str) -> Schedule:
    """Raises InvalidRequest."""
    if text not in set(Schedule):
        raise InvalidRequest("action", text, f"give one of {', '.join(Schedule)}")
    return Schedule(text)


def object_message(stored: StoredObject) -> pb.Object:
    key = stored.key
    return pb.Object(
        ref=pb.ObjectRef(kind=key.kind, namespace=key.namespace, name=key.name),
        revision=stored.revision,
        owner=stored.owner.value,
        document_json=json.dumps(document_of(stored)),
    )


def apply_reply(results: Sequence[Applied]) -> pb.ApplyReply:
    return pb.ApplyReply(
        results=[
            pb.ApplyReply.Result(object=object_message(one.object), action=one.action, warnings=one.warnings)
            for one in results
        ]
    )


def change_message(change: Change) -> pb.Change:
    return pb.Change(sequence=change.sequence, type=change.type.value, object=object_message(change.object))


def explain_reply(found: Explanation) -> pb.ExplainReply:
    return pb.ExplainReply(
        decision=found.decision,
        decision_json=found.decision_json,
        snapshot_json=found.snapshot_json,
        age_s=found.age_s,
        view_json=found.view_json,
        remedies_json=found.remedies_json,
        held=found.held,
        kept_s=found.kept_s,
    )


def decision_id(field: str, text: str) -> DecisionId:
    """Raises InvalidRequest."""
    if not DECISION.fullmatch(text):
        raise InvalidRequest(field, text, "give a decision's id: `skerry get decisions` lists them")
    return DecisionId(text)


def plan_reply(planned: Planned) -> pb.PlanReply:
    return pb.PlanReply(changed=planned.changed, plan_json=planned.plan_json, view_json=planned.view_json)


def decisions_reply(kept: KeptDecisions) -> pb.DecisionsReply:
    return pb.DecisionsReply(decisions=[_decision(one) for one in kept.decisions], retention=kept.retention)


def _decision(kept: KeptDecision) -> pb.DecisionsReply.Decision:
    record = kept.record
    return pb.DecisionsReply.Decision(
        id=record.id,
        age_s=kept.age_s,
        made_wall_s=record.made_wall_s,
        epoch=record.epoch,
        services=record.services,
        usd_per_hour=record.usd_per_hour,
        changes=record.changes,
        in_force=kept.in_force,
        inputs_json=kept.inputs_json,
        decision_json=kept.decision_json,
    )


def replay_reply(found: Replay) -> pb.ReplayReply:
    return pb.ReplayReply(
        decision=found.decision,
        age_s=found.age_s,
        equal=found.equal,
        differences=found.differences,
        decided_by=found.decided_by,
        replayed_by=found.replayed_by,
        plan_json=found.plan_json,
        decision_json=found.decision_json,
    )


def status_reply(status: Status) -> pb.StatusReply:
    parts = [
        pb.StatusReply.Part(kind=one.kind, name=one.name, phase=one.phase, detail=one.detail, age_s=one.age_s)
        for one in status.parts
    ]
    return pb.StatusReply(
        version=status.version,
        epoch=status.epoch,
        leader=status.leader,
        decision=status.decision,
        sequence=status.sequence,
        parts=parts,
        nodes=[_node_message(node) for node in status.nodes],
    )


def _node_message(node: NodeView) -> pb.StatusReply.Node:
    return pb.StatusReply.Node(
        name=node.name,
        site=node.site,
        front=node.front,
        phase=node.phase,
        silent_s=node.silent_s,
        memory_bytes=node.memory_bytes,
        compute_millis=node.compute_millis,
        lan_address=node.lan_address,
        replicas=[pb.StatusReply.Replica(name=one.name, phase=one.phase, reason=one.reason) for one in node.replicas],
        machine=_machine_message(node.machine) if node.machine else None,
        usage=_usage_message(node.usage) if node.usage else None,
    )


def _machine_message(machine: NodeMachine) -> pb.StatusReply.Machine:
    found = [pb.StatusReply.Accelerator(kind=a.kind, name=a.name, device=a.device) for a in machine.accelerators]
    return pb.StatusReply.Machine(
        architecture=machine.architecture,
        kernel=machine.kernel,
        system=machine.system,
        cpus=machine.cpus,
        memory_bytes=machine.memory_bytes,
        disk_bytes=machine.disk_bytes,
        accelerators=found,
    )


def _usage_message(usage: NodeUsage) -> pb.StatusReply.Usage:
    return pb.StatusReply.Usage(
        age_s=usage.age_s,
        cpu_share=usage.cpu_share,
        memory_available_bytes=usage.memory_available_bytes,
        agent_bytes=usage.agent_bytes,
        replicas_bytes=usage.replicas_bytes,
        disk_free_bytes=usage.disk_free_bytes,
        temperature_c=usage.temperature_c,
    )


def progress_message(progress: Progress) -> pb.TrainProgress:
    return pb.TrainProgress(
        job=progress.job,
        phase=progress.phase,
        step=progress.step,
        steps=progress.steps,
        message=progress.message,
        metrics=progress.metrics,
        object=None if progress.object is None else object_message(progress.object),
    )


def pushed_model(chunk: pb.PushChunk | None) -> PushedModel:
    """Raises InvalidRequest unless the first message of a push is a sound header."""
    if chunk is None or chunk.WhichOneof("kind") != "header":
        raise InvalidRequest("header", "" if chunk is None else "data", "the first message of a push is its header")
    header = chunk.header
    if header.format not in MODEL_FORMATS:
        raise InvalidRequest("format", header.format, f"give one of {', '.join(MODEL_FORMATS)}")
    if not DIGEST.fullmatch(header.digest):
        raise InvalidRequest("digest", header.digest, "give sha256: and 64 hexadecimal digits in lower case")
    if not 0 < header.size_bytes <= MAX_MODEL_BYTES:
        raise InvalidRequest("size_bytes", header.size_bytes, f"give the model's size, 1 to {MAX_MODEL_BYTES}")
    if header.accuracy_given and not (math.isfinite(header.accuracy) and 0 <= header.accuracy <= 1):
        raise InvalidRequest("accuracy", header.accuracy, "give a share between 0 and 1")
    return PushedModel(
        namespace=name_of("namespace", header.namespace or DEFAULT_NAMESPACE),
        name=name_of("name", header.name),
        format=header.format,
        digest=header.digest,
        size_bytes=header.size_bytes,
        owner=owner_of(header.owner),
        accuracy=header.accuracy if header.accuracy_given else None,
    )


async def pushed_data(chunks: AsyncIterator[pb.PushChunk], size_bytes: int) -> AsyncIterator[bytes]:
    """The bytes after the header. Raises InvalidRequest when they are not as many as the header said."""
    got_bytes = 0
    async for chunk in chunks:
        if chunk.WhichOneof("kind") != "data":
            raise InvalidRequest("header", "", "a push has one header, then data")
        got_bytes += len(chunk.data)
        if got_bytes > size_bytes:
            raise InvalidRequest("size_bytes", size_bytes, f"the model has more, at least {got_bytes} bytes")
        yield chunk.data
    if got_bytes < size_bytes:
        raise InvalidRequest("size_bytes", size_bytes, f"only {got_bytes} bytes came: push again")
