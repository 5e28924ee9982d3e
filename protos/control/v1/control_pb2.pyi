from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CertifyRequest(_message.Message):
    __slots__ = ("role", "name", "request_pem", "hosts")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_PEM_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    role: str
    name: str
    request_pem: bytes
    hosts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, role: _Optional[str] = ..., name: _Optional[str] = ..., request_pem: _Optional[bytes] = ..., hosts: _Optional[_Iterable[str]] = ...) -> None: ...

class CertifyReply(_message.Message):
    __slots__ = ("certificate_pem", "authority_pem")
    CERTIFICATE_PEM_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_PEM_FIELD_NUMBER: _ClassVar[int]
    certificate_pem: bytes
    authority_pem: bytes
    def __init__(self, certificate_pem: _Optional[bytes] = ..., authority_pem: _Optional[bytes] = ...) -> None: ...

class Token(_message.Message):
    __slots__ = ("id", "site", "uses", "nodes", "expires_in_s", "labels", "revoked", "age_s")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_S_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    id: str
    site: str
    uses: int
    nodes: _containers.RepeatedScalarFieldContainer[str]
    expires_in_s: float
    labels: _containers.ScalarMap[str, str]
    revoked: bool
    age_s: float
    def __init__(self, id: _Optional[str] = ..., site: _Optional[str] = ..., uses: _Optional[int] = ..., nodes: _Optional[_Iterable[str]] = ..., expires_in_s: _Optional[float] = ..., labels: _Optional[_Mapping[str, str]] = ..., revoked: _Optional[bool] = ..., age_s: _Optional[float] = ...) -> None: ...

class CreateTokenRequest(_message.Message):
    __slots__ = ("site", "uses", "ttl_s", "labels", "tokens")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SITE_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    site: str
    uses: int
    ttl_s: float
    labels: _containers.ScalarMap[str, str]
    tokens: int
    def __init__(self, site: _Optional[str] = ..., uses: _Optional[int] = ..., ttl_s: _Optional[float] = ..., labels: _Optional[_Mapping[str, str]] = ..., tokens: _Optional[int] = ...) -> None: ...

class CreateTokenReply(_message.Message):
    __slots__ = ("secrets", "enrolments")
    class Secret(_message.Message):
        __slots__ = ("token", "text")
        TOKEN_FIELD_NUMBER: _ClassVar[int]
        TEXT_FIELD_NUMBER: _ClassVar[int]
        token: Token
        text: str
        def __init__(self, token: _Optional[_Union[Token, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...
    SECRETS_FIELD_NUMBER: _ClassVar[int]
    ENROLMENTS_FIELD_NUMBER: _ClassVar[int]
    secrets: _containers.RepeatedCompositeFieldContainer[CreateTokenReply.Secret]
    enrolments: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, secrets: _Optional[_Iterable[_Union[CreateTokenReply.Secret, _Mapping]]] = ..., enrolments: _Optional[_Iterable[str]] = ...) -> None: ...

class ListTokensRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTokensReply(_message.Message):
    __slots__ = ("tokens",)
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedCompositeFieldContainer[Token]
    def __init__(self, tokens: _Optional[_Iterable[_Union[Token, _Mapping]]] = ...) -> None: ...

class RevokeTokenRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ObjectRef(_message.Message):
    __slots__ = ("kind", "namespace", "name")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    kind: str
    namespace: str
    name: str
    def __init__(self, kind: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Object(_message.Message):
    __slots__ = ("ref", "revision", "owner", "document_json")
    REF_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_JSON_FIELD_NUMBER: _ClassVar[int]
    ref: ObjectRef
    revision: int
    owner: str
    document_json: str
    def __init__(self, ref: _Optional[_Union[ObjectRef, _Mapping]] = ..., revision: _Optional[int] = ..., owner: _Optional[str] = ..., document_json: _Optional[str] = ...) -> None: ...

class ApplyRequest(_message.Message):
    __slots__ = ("documents_json", "owner", "dry_run")
    DOCUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    documents_json: _containers.RepeatedScalarFieldContainer[str]
    owner: str
    dry_run: bool
    def __init__(self, documents_json: _Optional[_Iterable[str]] = ..., owner: _Optional[str] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class ApplyReply(_message.Message):
    __slots__ = ("results",)
    class Result(_message.Message):
        __slots__ = ("object", "action", "warnings")
        OBJECT_FIELD_NUMBER: _ClassVar[int]
        ACTION_FIELD_NUMBER: _ClassVar[int]
        WARNINGS_FIELD_NUMBER: _ClassVar[int]
        object: Object
        action: str
        warnings: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, object: _Optional[_Union[Object, _Mapping]] = ..., action: _Optional[str] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ApplyReply.Result]
    def __init__(self, results: _Optional[_Iterable[_Union[ApplyReply.Result, _Mapping]]] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("kind", "namespace")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    namespace: str
    def __init__(self, kind: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class ListReply(_message.Message):
    __slots__ = ("objects", "sequence")
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    objects: _containers.RepeatedCompositeFieldContainer[Object]
    sequence: int
    def __init__(self, objects: _Optional[_Iterable[_Union[Object, _Mapping]]] = ..., sequence: _Optional[int] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("ref", "revision")
    REF_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ref: ObjectRef
    revision: int
    def __init__(self, ref: _Optional[_Union[ObjectRef, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class ScheduleNodeRequest(_message.Message):
    __slots__ = ("node", "action")
    NODE_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    node: str
    action: str
    def __init__(self, node: _Optional[str] = ..., action: _Optional[str] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("from_sequence", "kind", "namespace")
    FROM_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    from_sequence: int
    kind: str
    namespace: str
    def __init__(self, from_sequence: _Optional[int] = ..., kind: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("sequence", "type", "object")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    type: str
    object: Object
    def __init__(self, sequence: _Optional[int] = ..., type: _Optional[str] = ..., object: _Optional[_Union[Object, _Mapping]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("namespace", "service", "site", "view", "remedies")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    REMEDIES_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    service: str
    site: str
    view: bool
    remedies: bool
    def __init__(self, namespace: _Optional[str] = ..., service: _Optional[str] = ..., site: _Optional[str] = ..., view: _Optional[bool] = ..., remedies: _Optional[bool] = ...) -> None: ...

class ExplainReply(_message.Message):
    __slots__ = ("decision", "decision_json", "snapshot_json", "age_s", "view_json", "remedies_json", "held", "kept_s")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    DECISION_JSON_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_JSON_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    VIEW_JSON_FIELD_NUMBER: _ClassVar[int]
    REMEDIES_JSON_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    KEPT_S_FIELD_NUMBER: _ClassVar[int]
    decision: str
    decision_json: str
    snapshot_json: str
    age_s: float
    view_json: str
    remedies_json: _containers.RepeatedScalarFieldContainer[str]
    held: str
    kept_s: float
    def __init__(self, decision: _Optional[str] = ..., decision_json: _Optional[str] = ..., snapshot_json: _Optional[str] = ..., age_s: _Optional[float] = ..., view_json: _Optional[str] = ..., remedies_json: _Optional[_Iterable[str]] = ..., held: _Optional[str] = ..., kept_s: _Optional[float] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("version", "epoch", "leader", "decision", "sequence", "parts", "nodes")
    class Part(_message.Message):
        __slots__ = ("kind", "name", "phase", "detail", "age_s")
        KIND_FIELD_NUMBER: _ClassVar[int]
        NAME_FIELD_NUMBER: _ClassVar[int]
        PHASE_FIELD_NUMBER: _ClassVar[int]
        DETAIL_FIELD_NUMBER: _ClassVar[int]
        AGE_S_FIELD_NUMBER: _ClassVar[int]
        kind: str
        name: str
        phase: str
        detail: str
        age_s: float
        def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., phase: _Optional[str] = ..., detail: _Optional[str] = ..., age_s: _Optional[float] = ...) -> None: ...
    class Replica(_message.Message):
        __slots__ = ("name", "phase", "reason")
        NAME_FIELD_NUMBER: _ClassVar[int]
        PHASE_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        name: str
        phase: str
        reason: str
        def __init__(self, name: _Optional[str] = ..., phase: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
    class Node(_message.Message):
        __slots__ = ("name", "site", "front", "phase", "silent_s", "memory_bytes", "compute_millis", "lan_address", "replicas", "machine", "usage")
        NAME_FIELD_NUMBER: _ClassVar[int]
        SITE_FIELD_NUMBER: _ClassVar[int]
        FRONT_FIELD_NUMBER: _ClassVar[int]
        PHASE_FIELD_NUMBER: _ClassVar[int]
        SILENT_S_FIELD_NUMBER: _ClassVar[int]
        MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
        COMPUTE_MILLIS_FIELD_NUMBER: _ClassVar[int]
        LAN_ADDRESS_FIELD_NUMBER: _ClassVar[int]
        REPLICAS_FIELD_NUMBER: _ClassVar[int]
        MACHINE_FIELD_NUMBER: _ClassVar[int]
        USAGE_FIELD_NUMBER: _ClassVar[int]
        name: str
        site: str
        front: str
        phase: str
        silent_s: float
        memory_bytes: int
        compute_millis: int
        lan_address: str
        replicas: _containers.RepeatedCompositeFieldContainer[StatusReply.Replica]
        machine: StatusReply.Machine
        usage: StatusReply.Usage
        def __init__(self, name: _Optional[str] = ..., site: _Optional[str] = ..., front: _Optional[str] = ..., phase: _Optional[str] = ..., silent_s: _Optional[float] = ..., memory_bytes: _Optional[int] = ..., compute_millis: _Optional[int] = ..., lan_address: _Optional[str] = ..., replicas: _Optional[_Iterable[_Union[StatusReply.Replica, _Mapping]]] = ..., machine: _Optional[_Union[StatusReply.Machine, _Mapping]] = ..., usage: _Optional[_Union[StatusReply.Usage, _Mapping]] = ...) -> None: ...
    class Accelerator(_message.Message):
        __slots__ = ("kind", "name", "device")
        KIND_FIELD_NUMBER: _ClassVar[int]
        NAME_FIELD_NUMBER: _ClassVar[int]
        DEVICE_FIELD_NUMBER: _ClassVar[int]
        kind: str
        name: str
        device: str
        def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., device: _Optional[str] = ...) -> None: ...
    class Machine(_message.Message):
        __slots__ = ("architecture", "kernel", "system", "cpus", "memory_bytes", "disk_bytes", "accelerators")
        ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
        KERNEL_FIELD_NUMBER: _ClassVar[int]
        SYSTEM_FIELD_NUMBER: _ClassVar[int]
        CPUS_FIELD_NUMBER: _ClassVar[int]
        MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
        DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
        ACCELERATORS_FIELD_NUMBER: _ClassVar[int]
        architecture: str
        kernel: str
        system: str
        cpus: int
        memory_bytes: int
        disk_bytes: int
        accelerators: _containers.RepeatedCompositeFieldContainer[StatusReply.Accelerator]
        def __init__(self, architecture: _Optional[str] = ..., kernel: _Optional[str] = ..., system: _Optional[str] = ..., cpus: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., disk_bytes: _Optional[int] = ..., accelerators: _Optional[_Iterable[_Union[StatusReply.Accelerator, _Mapping]]] = ...) -> None: ...
    class Usage(_message.Message):
        __slots__ = ("age_s", "cpu_share", "memory_available_bytes", "agent_bytes", "replicas_bytes", "disk_free_bytes", "temperature_c")
        AGE_S_FIELD_NUMBER: _ClassVar[int]
        CPU_SHARE_FIELD_NUMBER: _ClassVar[int]
        MEMORY_AVAILABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
        AGENT_BYTES_FIELD_NUMBER: _ClassVar[int]
        REPLICAS_BYTES_FIELD_NUMBER: _ClassVar[int]
        DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
        TEMPERATURE_C_FIELD_NUMBER: _ClassVar[int]
        age_s: float
        cpu_share: float
        memory_available_bytes: int
        agent_bytes: int
        replicas_bytes: int
        disk_free_bytes: int
        temperature_c: float
        def __init__(self, age_s: _Optional[float] = ..., cpu_share: _Optional[float] = ..., memory_available_bytes: _Optional[int] = ..., agent_bytes: _Optional[int] = ..., replicas_bytes: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., temperature_c: _Optional[float] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    version: str
    epoch: int
    leader: str
    decision: str
    sequence: int
    parts: _containers.RepeatedCompositeFieldContainer[StatusReply.Part]
    nodes: _containers.RepeatedCompositeFieldContainer[StatusReply.Node]
    def __init__(self, version: _Optional[str] = ..., epoch: _Optional[int] = ..., leader: _Optional[str] = ..., decision: _Optional[str] = ..., sequence: _Optional[int] = ..., parts: _Optional[_Iterable[_Union[StatusReply.Part, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[StatusReply.Node, _Mapping]]] = ...) -> None: ...

class TrainRequest(_message.Message):
    __slots__ = ("document_json", "owner")
    DOCUMENT_JSON_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    document_json: str
    owner: str
    def __init__(self, document_json: _Optional[str] = ..., owner: _Optional[str] = ...) -> None: ...

class TrainProgress(_message.Message):
    __slots__ = ("job", "phase", "step", "steps", "message", "metrics", "object")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    JOB_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    job: str
    phase: str
    step: int
    steps: int
    message: str
    metrics: _containers.ScalarMap[str, float]
    object: Object
    def __init__(self, job: _Optional[str] = ..., phase: _Optional[str] = ..., step: _Optional[int] = ..., steps: _Optional[int] = ..., message: _Optional[str] = ..., metrics: _Optional[_Mapping[str, float]] = ..., object: _Optional[_Union[Object, _Mapping]] = ...) -> None: ...

class LogsRequest(_message.Message):
    __slots__ = ("ref", "follow")
    REF_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    ref: ObjectRef
    follow: bool
    def __init__(self, ref: _Optional[_Union[ObjectRef, _Mapping]] = ..., follow: _Optional[bool] = ...) -> None: ...

class LogLine(_message.Message):
    __slots__ = ("line",)
    LINE_FIELD_NUMBER: _ClassVar[int]
    line: str
    def __init__(self, line: _Optional[str] = ...) -> None: ...

class PushChunk(_message.Message):
    __slots__ = ("header", "data")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    header: PushHeader
    data: bytes
    def __init__(self, header: _Optional[_Union[PushHeader, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class PushHeader(_message.Message):
    __slots__ = ("namespace", "name", "format", "digest", "size_bytes", "owner", "accuracy", "accuracy_given")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_GIVEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    format: str
    digest: str
    size_bytes: int
    owner: str
    accuracy: float
    accuracy_given: bool
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., format: _Optional[str] = ..., digest: _Optional[str] = ..., size_bytes: _Optional[int] = ..., owner: _Optional[str] = ..., accuracy: _Optional[float] = ..., accuracy_given: _Optional[bool] = ...) -> None: ...

class PlanRequest(_message.Message):
    __slots__ = ("documents_json", "owner", "view")
    DOCUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    documents_json: _containers.RepeatedScalarFieldContainer[str]
    owner: str
    view: bool
    def __init__(self, documents_json: _Optional[_Iterable[str]] = ..., owner: _Optional[str] = ..., view: _Optional[bool] = ...) -> None: ...

class PlanReply(_message.Message):
    __slots__ = ("changed", "plan_json", "view_json")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    PLAN_JSON_FIELD_NUMBER: _ClassVar[int]
    VIEW_JSON_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    plan_json: str
    view_json: str
    def __init__(self, changed: _Optional[bool] = ..., plan_json: _Optional[str] = ..., view_json: _Optional[str] = ...) -> None: ...

class DecisionsRequest(_message.Message):
    __slots__ = ("id", "limit")
    ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    id: str
    limit: int
    def __init__(self, id: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class DecisionsReply(_message.Message):
    __slots__ = ("decisions", "retention")
    class Decision(_message.Message):
        __slots__ = ("id", "age_s", "made_wall_s", "epoch", "services", "usd_per_hour", "changes", "in_force", "inputs_json", "decision_json")
        ID_FIELD_NUMBER: _ClassVar[int]
        AGE_S_FIELD_NUMBER: _ClassVar[int]
        MADE_WALL_S_FIELD_NUMBER: _ClassVar[int]
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        SERVICES_FIELD_NUMBER: _ClassVar[int]
        USD_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
        CHANGES_FIELD_NUMBER: _ClassVar[int]
        IN_FORCE_FIELD_NUMBER: _ClassVar[int]
        INPUTS_JSON_FIELD_NUMBER: _ClassVar[int]
        DECISION_JSON_FIELD_NUMBER: _ClassVar[int]
        id: str
        age_s: float
        made_wall_s: float
        epoch: int
        services: int
        usd_per_hour: float
        changes: _containers.RepeatedScalarFieldContainer[str]
        in_force: bool
        inputs_json: str
        decision_json: str
        def __init__(self, id: _Optional[str] = ..., age_s: _Optional[float] = ..., made_wall_s: _Optional[float] = ..., epoch: _Optional[int] = ..., services: _Optional[int] = ..., usd_per_hour: _Optional[float] = ..., changes: _Optional[_Iterable[str]] = ..., in_force: _Optional[bool] = ..., inputs_json: _Optional[str] = ..., decision_json: _Optional[str] = ...) -> None: ...
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    RETENTION_FIELD_NUMBER: _ClassVar[int]
    decisions: _containers.RepeatedCompositeFieldContainer[DecisionsReply.Decision]
    retention: str
    def __init__(self, decisions: _Optional[_Iterable[_Union[DecisionsReply.Decision, _Mapping]]] = ..., retention: _Optional[str] = ...) -> None: ...

class ReplayRequest(_message.Message):
    __slots__ = ("decision", "policy_json")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    POLICY_JSON_FIELD_NUMBER: _ClassVar[int]
    decision: str
    policy_json: str
    def __init__(self, decision: _Optional[str] = ..., policy_json: _Optional[str] = ...) -> None: ...

class ReplayReply(_message.Message):
    __slots__ = ("decision", "age_s", "equal", "differences", "decided_by", "replayed_by", "plan_json", "decision_json")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    EQUAL_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_BY_FIELD_NUMBER: _ClassVar[int]
    PLAN_JSON_FIELD_NUMBER: _ClassVar[int]
    DECISION_JSON_FIELD_NUMBER: _ClassVar[int]
    decision: str
    age_s: float
    equal: bool
    differences: _containers.RepeatedScalarFieldContainer[str]
    decided_by: str
    replayed_by: str
    plan_json: str
    decision_json: str
    def __init__(self, decision: _Optional[str] = ..., age_s: _Optional[float] = ..., equal: _Optional[bool] = ..., differences: _Optional[_Iterable[str]] = ..., decided_by: _Optional[str] = ..., replayed_by: _Optional[str] = ..., plan_json: _Optional[str] = ..., decision_json: _Optional[str] = ...) -> None: ...
