from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReplicaPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPLICA_PHASE_UNSPECIFIED: _ClassVar[ReplicaPhase]
    REPLICA_PHASE_FETCHING: _ClassVar[ReplicaPhase]
    REPLICA_PHASE_STARTING: _ClassVar[ReplicaPhase]
    REPLICA_PHASE_READY: _ClassVar[ReplicaPhase]
    REPLICA_PHASE_DRAINING: _ClassVar[ReplicaPhase]
    REPLICA_PHASE_STOPPED: _ClassVar[ReplicaPhase]
    REPLICA_PHASE_FAILED: _ClassVar[ReplicaPhase]

class Isolation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ISOLATION_UNSPECIFIED: _ClassVar[Isolation]
    ISOLATION_SHARED: _ClassVar[Isolation]
    ISOLATION_PROCESS: _ClassVar[Isolation]
REPLICA_PHASE_UNSPECIFIED: ReplicaPhase
REPLICA_PHASE_FETCHING: ReplicaPhase
REPLICA_PHASE_STARTING: ReplicaPhase
REPLICA_PHASE_READY: ReplicaPhase
REPLICA_PHASE_DRAINING: ReplicaPhase
REPLICA_PHASE_STOPPED: ReplicaPhase
REPLICA_PHASE_FAILED: ReplicaPhase
ISOLATION_UNSPECIFIED: Isolation
ISOLATION_SHARED: Isolation
ISOLATION_PROCESS: Isolation

class AuthorityRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AuthorityReply(_message.Message):
    __slots__ = ("authority_pem",)
    AUTHORITY_PEM_FIELD_NUMBER: _ClassVar[int]
    authority_pem: bytes
    def __init__(self, authority_pem: _Optional[bytes] = ...) -> None: ...

class JoinRequest(_message.Message):
    __slots__ = ("token", "node", "request_pem", "software")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_PEM_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    token: str
    node: str
    request_pem: bytes
    software: Software
    def __init__(self, token: _Optional[str] = ..., node: _Optional[str] = ..., request_pem: _Optional[bytes] = ..., software: _Optional[_Union[Software, _Mapping]] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("request_pem", "software", "node")
    REQUEST_PEM_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    request_pem: bytes
    software: Software
    node: str
    def __init__(self, request_pem: _Optional[bytes] = ..., software: _Optional[_Union[Software, _Mapping]] = ..., node: _Optional[str] = ...) -> None: ...

class Certified(_message.Message):
    __slots__ = ("certificate_pem", "authority_pem", "node", "site", "fronts", "renew_in_s", "enrolments")
    CERTIFICATE_PEM_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_PEM_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    FRONTS_FIELD_NUMBER: _ClassVar[int]
    RENEW_IN_S_FIELD_NUMBER: _ClassVar[int]
    ENROLMENTS_FIELD_NUMBER: _ClassVar[int]
    certificate_pem: bytes
    authority_pem: bytes
    node: str
    site: str
    fronts: _containers.RepeatedScalarFieldContainer[str]
    renew_in_s: int
    enrolments: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, certificate_pem: _Optional[bytes] = ..., authority_pem: _Optional[bytes] = ..., node: _Optional[str] = ..., site: _Optional[str] = ..., fronts: _Optional[_Iterable[str]] = ..., renew_in_s: _Optional[int] = ..., enrolments: _Optional[_Iterable[str]] = ...) -> None: ...

class Software(_message.Message):
    __slots__ = ("version", "protocol", "capabilities")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    version: str
    protocol: int
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[str] = ..., protocol: _Optional[int] = ..., capabilities: _Optional[_Iterable[str]] = ...) -> None: ...

class NodeMessage(_message.Message):
    __slots__ = ("hello", "report", "heartbeat")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    hello: NodeHello
    report: NodeReport
    heartbeat: Heartbeat
    def __init__(self, hello: _Optional[_Union[NodeHello, _Mapping]] = ..., report: _Optional[_Union[NodeReport, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class FrontMessage(_message.Message):
    __slots__ = ("welcome", "assignment", "taken")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    welcome: FrontWelcome
    assignment: Assignment
    taken: ReportTaken
    def __init__(self, welcome: _Optional[_Union[FrontWelcome, _Mapping]] = ..., assignment: _Optional[_Union[Assignment, _Mapping]] = ..., taken: _Optional[_Union[ReportTaken, _Mapping]] = ...) -> None: ...

class ReportTaken(_message.Message):
    __slots__ = ("number", "refused", "whole")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    number: int
    refused: str
    whole: bool
    def __init__(self, number: _Optional[int] = ..., refused: _Optional[str] = ..., whole: _Optional[bool] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NodeHello(_message.Message):
    __slots__ = ("node", "site", "epoch", "software", "memory_bytes", "compute_millis", "lan_address", "held_revision", "peer_address", "machine", "boot", "boots_before")
    NODE_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_MILLIS_FIELD_NUMBER: _ClassVar[int]
    LAN_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    HELD_REVISION_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    BOOT_FIELD_NUMBER: _ClassVar[int]
    BOOTS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    node: str
    site: str
    epoch: int
    software: Software
    memory_bytes: int
    compute_millis: int
    lan_address: str
    held_revision: int
    peer_address: str
    machine: Machine
    boot: str
    boots_before: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, node: _Optional[str] = ..., site: _Optional[str] = ..., epoch: _Optional[int] = ..., software: _Optional[_Union[Software, _Mapping]] = ..., memory_bytes: _Optional[int] = ..., compute_millis: _Optional[int] = ..., lan_address: _Optional[str] = ..., held_revision: _Optional[int] = ..., peer_address: _Optional[str] = ..., machine: _Optional[_Union[Machine, _Mapping]] = ..., boot: _Optional[str] = ..., boots_before: _Optional[_Iterable[str]] = ...) -> None: ...

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
    accelerators: _containers.RepeatedCompositeFieldContainer[Accelerator]
    def __init__(self, architecture: _Optional[str] = ..., kernel: _Optional[str] = ..., system: _Optional[str] = ..., cpus: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., disk_bytes: _Optional[int] = ..., accelerators: _Optional[_Iterable[_Union[Accelerator, _Mapping]]] = ...) -> None: ...

class Accelerator(_message.Message):
    __slots__ = ("kind", "name", "device")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    device: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., device: _Optional[str] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("sample", "cpu_share", "memory_available_bytes", "agent_bytes", "replicas_bytes", "disk_free_bytes", "temperature_c")
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    CPU_SHARE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_AVAILABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    AGENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_C_FIELD_NUMBER: _ClassVar[int]
    sample: int
    cpu_share: float
    memory_available_bytes: int
    agent_bytes: int
    replicas_bytes: int
    disk_free_bytes: int
    temperature_c: float
    def __init__(self, sample: _Optional[int] = ..., cpu_share: _Optional[float] = ..., memory_available_bytes: _Optional[int] = ..., agent_bytes: _Optional[int] = ..., replicas_bytes: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., temperature_c: _Optional[float] = ...) -> None: ...

class FrontWelcome(_message.Message):
    __slots__ = ("front", "software", "heartbeat_ms", "session", "fronts")
    FRONT_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    FRONTS_FIELD_NUMBER: _ClassVar[int]
    front: str
    software: Software
    heartbeat_ms: int
    session: str
    fronts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, front: _Optional[str] = ..., software: _Optional[_Union[Software, _Mapping]] = ..., heartbeat_ms: _Optional[int] = ..., session: _Optional[str] = ..., fronts: _Optional[_Iterable[str]] = ...) -> None: ...

class NodeReport(_message.Message):
    __slots__ = ("held_revision", "replicas", "legs", "demand", "usage", "number", "delta", "gone", "legs_hold_ms", "kept")
    HELD_REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    DEMAND_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    LEGS_HOLD_MS_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    held_revision: int
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaState]
    legs: _containers.RepeatedCompositeFieldContainer[LegEstimate]
    demand: _containers.RepeatedCompositeFieldContainer[LanDemand]
    usage: Usage
    number: int
    delta: bool
    gone: _containers.RepeatedScalarFieldContainer[str]
    legs_hold_ms: int
    kept: _containers.RepeatedCompositeFieldContainer[KeptReport]
    def __init__(self, held_revision: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[ReplicaState, _Mapping]]] = ..., legs: _Optional[_Iterable[_Union[LegEstimate, _Mapping]]] = ..., demand: _Optional[_Iterable[_Union[LanDemand, _Mapping]]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., number: _Optional[int] = ..., delta: _Optional[bool] = ..., gone: _Optional[_Iterable[str]] = ..., legs_hold_ms: _Optional[int] = ..., kept: _Optional[_Iterable[_Union[KeptReport, _Mapping]]] = ...) -> None: ...

class KeptReport(_message.Message):
    __slots__ = ("age_ms", "report")
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    age_ms: int
    report: NodeReport
    def __init__(self, age_ms: _Optional[int] = ..., report: _Optional[_Union[NodeReport, _Mapping]] = ...) -> None: ...

class LanDemand(_message.Message):
    __slots__ = ("namespace", "service", "calls", "failed", "request_bytes", "response_bytes")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_BYTES_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    service: str
    calls: int
    failed: int
    request_bytes: int
    response_bytes: int
    def __init__(self, namespace: _Optional[str] = ..., service: _Optional[str] = ..., calls: _Optional[int] = ..., failed: _Optional[int] = ..., request_bytes: _Optional[int] = ..., response_bytes: _Optional[int] = ...) -> None: ...

class ReplicaState(_message.Message):
    __slots__ = ("replica", "incarnation", "phase", "reason", "fetched_bytes", "total_bytes", "restarts")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FETCHED_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    replica: str
    incarnation: str
    phase: ReplicaPhase
    reason: str
    fetched_bytes: int
    total_bytes: int
    restarts: int
    def __init__(self, replica: _Optional[str] = ..., incarnation: _Optional[str] = ..., phase: _Optional[_Union[ReplicaPhase, str]] = ..., reason: _Optional[str] = ..., fetched_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., restarts: _Optional[int] = ...) -> None: ...

class LegEstimate(_message.Message):
    __slots__ = ("source", "target", "rtt_p50_ms", "rtt_p99_ms", "up_bps", "down_bps", "samples", "newest_age_ms", "method", "rtt_p95_ms", "rtt_p99_low_ms", "rtt_p99_high_ms", "up_p10_bps", "down_p10_bps", "round_trips", "rtt_p05_ms")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    RTT_P50_MS_FIELD_NUMBER: _ClassVar[int]
    RTT_P99_MS_FIELD_NUMBER: _ClassVar[int]
    UP_BPS_FIELD_NUMBER: _ClassVar[int]
    DOWN_BPS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    NEWEST_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    RTT_P95_MS_FIELD_NUMBER: _ClassVar[int]
    RTT_P99_LOW_MS_FIELD_NUMBER: _ClassVar[int]
    RTT_P99_HIGH_MS_FIELD_NUMBER: _ClassVar[int]
    UP_P10_BPS_FIELD_NUMBER: _ClassVar[int]
    DOWN_P10_BPS_FIELD_NUMBER: _ClassVar[int]
    ROUND_TRIPS_FIELD_NUMBER: _ClassVar[int]
    RTT_P05_MS_FIELD_NUMBER: _ClassVar[int]
    source: str
    target: str
    rtt_p50_ms: float
    rtt_p99_ms: float
    up_bps: float
    down_bps: float
    samples: int
    newest_age_ms: int
    method: str
    rtt_p95_ms: float
    rtt_p99_low_ms: float
    rtt_p99_high_ms: float
    up_p10_bps: float
    down_p10_bps: float
    round_trips: Sketch
    rtt_p05_ms: float
    def __init__(self, source: _Optional[str] = ..., target: _Optional[str] = ..., rtt_p50_ms: _Optional[float] = ..., rtt_p99_ms: _Optional[float] = ..., up_bps: _Optional[float] = ..., down_bps: _Optional[float] = ..., samples: _Optional[int] = ..., newest_age_ms: _Optional[int] = ..., method: _Optional[str] = ..., rtt_p95_ms: _Optional[float] = ..., rtt_p99_low_ms: _Optional[float] = ..., rtt_p99_high_ms: _Optional[float] = ..., up_p10_bps: _Optional[float] = ..., down_p10_bps: _Optional[float] = ..., round_trips: _Optional[_Union[Sketch, _Mapping]] = ..., rtt_p05_ms: _Optional[float] = ...) -> None: ...

class Sketch(_message.Message):
    __slots__ = ("accuracy", "keys", "counts", "least_ms", "worst_ms")
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    LEAST_MS_FIELD_NUMBER: _ClassVar[int]
    WORST_MS_FIELD_NUMBER: _ClassVar[int]
    accuracy: float
    keys: _containers.RepeatedScalarFieldContainer[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    least_ms: float
    worst_ms: float
    def __init__(self, accuracy: _Optional[float] = ..., keys: _Optional[_Iterable[int]] = ..., counts: _Optional[_Iterable[int]] = ..., least_ms: _Optional[float] = ..., worst_ms: _Optional[float] = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("revision", "replicas", "trust", "peers")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaAssignment]
    trust: Trust
    peers: _containers.RepeatedCompositeFieldContainer[PeerNode]
    def __init__(self, revision: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[ReplicaAssignment, _Mapping]]] = ..., trust: _Optional[_Union[Trust, _Mapping]] = ..., peers: _Optional[_Iterable[_Union[PeerNode, _Mapping]]] = ...) -> None: ...

class Trust(_message.Message):
    __slots__ = ("keys", "revoked_keys", "revoked_artifacts", "valid_s")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    REVOKED_KEYS_FIELD_NUMBER: _ClassVar[int]
    REVOKED_ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    VALID_S_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    revoked_keys: _containers.RepeatedScalarFieldContainer[str]
    revoked_artifacts: _containers.RepeatedScalarFieldContainer[str]
    valid_s: int
    def __init__(self, keys: _Optional[_Iterable[bytes]] = ..., revoked_keys: _Optional[_Iterable[str]] = ..., revoked_artifacts: _Optional[_Iterable[str]] = ..., valid_s: _Optional[int] = ...) -> None: ...

class PeerNode(_message.Message):
    __slots__ = ("node", "address")
    NODE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    node: str
    address: str
    def __init__(self, node: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class ReplicaAssignment(_message.Message):
    __slots__ = ("replica", "namespace", "service", "version", "artifact", "memory_bytes", "decision", "valid_offline_s", "draining", "isolation", "compute_millis", "rollout_bps", "single_writer")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    VALID_OFFLINE_S_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    ISOLATION_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_MILLIS_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_BPS_FIELD_NUMBER: _ClassVar[int]
    SINGLE_WRITER_FIELD_NUMBER: _ClassVar[int]
    replica: str
    namespace: str
    service: str
    version: str
    artifact: Artifact
    memory_bytes: int
    decision: str
    valid_offline_s: int
    draining: bool
    isolation: Isolation
    compute_millis: int
    rollout_bps: int
    single_writer: bool
    def __init__(self, replica: _Optional[str] = ..., namespace: _Optional[str] = ..., service: _Optional[str] = ..., version: _Optional[str] = ..., artifact: _Optional[_Union[Artifact, _Mapping]] = ..., memory_bytes: _Optional[int] = ..., decision: _Optional[str] = ..., valid_offline_s: _Optional[int] = ..., draining: _Optional[bool] = ..., isolation: _Optional[_Union[Isolation, str]] = ..., compute_millis: _Optional[int] = ..., rollout_bps: _Optional[int] = ..., single_writer: _Optional[bool] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("digest", "size_bytes", "format", "manifest", "signature")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    digest: str
    size_bytes: int
    format: str
    manifest: str
    signature: str
    def __init__(self, digest: _Optional[str] = ..., size_bytes: _Optional[int] = ..., format: _Optional[str] = ..., manifest: _Optional[str] = ..., signature: _Optional[str] = ...) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("digest", "offset", "session", "ranges", "wait")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    digest: str
    offset: int
    session: str
    ranges: _containers.RepeatedCompositeFieldContainer[ByteRange]
    wait: bool
    def __init__(self, digest: _Optional[str] = ..., offset: _Optional[int] = ..., session: _Optional[str] = ..., ranges: _Optional[_Iterable[_Union[ByteRange, _Mapping]]] = ..., wait: _Optional[bool] = ...) -> None: ...

class ByteRange(_message.Message):
    __slots__ = ("offset", "size_bytes")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    offset: int
    size_bytes: int
    def __init__(self, offset: _Optional[int] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class FetchChunk(_message.Message):
    __slots__ = ("offset", "data", "total_bytes")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    offset: int
    data: bytes
    total_bytes: int
    def __init__(self, offset: _Optional[int] = ..., data: _Optional[bytes] = ..., total_bytes: _Optional[int] = ...) -> None: ...

class RelayCall(_message.Message):
    __slots__ = ("call", "request", "cancel")
    CALL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    call: int
    request: RelayRequest
    cancel: bool
    def __init__(self, call: _Optional[int] = ..., request: _Optional[_Union[RelayRequest, _Mapping]] = ..., cancel: _Optional[bool] = ...) -> None: ...

class RelayRequest(_message.Message):
    __slots__ = ("method", "payload", "replica", "incarnation", "timeout_ms", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    method: str
    payload: bytes
    replica: str
    incarnation: str
    timeout_ms: int
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, method: _Optional[str] = ..., payload: _Optional[bytes] = ..., replica: _Optional[str] = ..., incarnation: _Optional[str] = ..., timeout_ms: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class RelayAnswer(_message.Message):
    __slots__ = ("call", "hello", "result")
    CALL_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    call: int
    hello: RelayHello
    result: RelayResult
    def __init__(self, call: _Optional[int] = ..., hello: _Optional[_Union[RelayHello, _Mapping]] = ..., result: _Optional[_Union[RelayResult, _Mapping]] = ...) -> None: ...

class RelayHello(_message.Message):
    __slots__ = ("node", "session")
    NODE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    node: str
    session: str
    def __init__(self, node: _Optional[str] = ..., session: _Optional[str] = ...) -> None: ...

class RelayResult(_message.Message):
    __slots__ = ("payload", "code", "message", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    code: int
    message: str
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, payload: _Optional[bytes] = ..., code: _Optional[int] = ..., message: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class EchoRequest(_message.Message):
    __slots__ = ("payload", "reply_bytes")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    REPLY_BYTES_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    reply_bytes: int
    def __init__(self, payload: _Optional[bytes] = ..., reply_bytes: _Optional[int] = ...) -> None: ...

class EchoReply(_message.Message):
    __slots__ = ("payload",)
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    def __init__(self, payload: _Optional[bytes] = ...) -> None: ...

class FrontReport(_message.Message):
    __slots__ = ("hello", "nodes", "legs", "demand", "routes_revision", "delta", "forgotten")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    DEMAND_FIELD_NUMBER: _ClassVar[int]
    ROUTES_REVISION_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    hello: FrontHello
    nodes: _containers.RepeatedCompositeFieldContainer[NodeState]
    legs: _containers.RepeatedCompositeFieldContainer[LegEstimate]
    demand: _containers.RepeatedCompositeFieldContainer[Demand]
    routes_revision: int
    delta: bool
    forgotten: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, hello: _Optional[_Union[FrontHello, _Mapping]] = ..., nodes: _Optional[_Iterable[_Union[NodeState, _Mapping]]] = ..., legs: _Optional[_Iterable[_Union[LegEstimate, _Mapping]]] = ..., demand: _Optional[_Iterable[_Union[Demand, _Mapping]]] = ..., routes_revision: _Optional[int] = ..., delta: _Optional[bool] = ..., forgotten: _Optional[_Iterable[str]] = ...) -> None: ...

class FrontHello(_message.Message):
    __slots__ = ("front", "region", "software", "gateway_address", "link_address", "enrolment_address")
    FRONT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LINK_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ENROLMENT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    front: str
    region: str
    software: Software
    gateway_address: str
    link_address: str
    enrolment_address: str
    def __init__(self, front: _Optional[str] = ..., region: _Optional[str] = ..., software: _Optional[_Union[Software, _Mapping]] = ..., gateway_address: _Optional[str] = ..., link_address: _Optional[str] = ..., enrolment_address: _Optional[str] = ...) -> None: ...

class NodeState(_message.Message):
    __slots__ = ("hello", "report", "attached", "silent_ms", "link_error", "report_age_ms")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    SILENT_MS_FIELD_NUMBER: _ClassVar[int]
    LINK_ERROR_FIELD_NUMBER: _ClassVar[int]
    REPORT_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    hello: NodeHello
    report: NodeReport
    attached: bool
    silent_ms: int
    link_error: str
    report_age_ms: int
    def __init__(self, hello: _Optional[_Union[NodeHello, _Mapping]] = ..., report: _Optional[_Union[NodeReport, _Mapping]] = ..., attached: _Optional[bool] = ..., silent_ms: _Optional[int] = ..., link_error: _Optional[str] = ..., report_age_ms: _Optional[int] = ...) -> None: ...

class Demand(_message.Message):
    __slots__ = ("namespace", "service", "zone", "calls", "failed", "request_bytes", "response_bytes", "window_ms")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_MS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    service: str
    zone: str
    calls: int
    failed: int
    request_bytes: int
    response_bytes: int
    window_ms: int
    def __init__(self, namespace: _Optional[str] = ..., service: _Optional[str] = ..., zone: _Optional[str] = ..., calls: _Optional[int] = ..., failed: _Optional[int] = ..., request_bytes: _Optional[int] = ..., response_bytes: _Optional[int] = ..., window_ms: _Optional[int] = ...) -> None: ...

class FrontOrders(_message.Message):
    __slots__ = ("routes", "assignments", "sites", "epoch", "revocations", "fronts")
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENTS_FIELD_NUMBER: _ClassVar[int]
    SITES_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    FRONTS_FIELD_NUMBER: _ClassVar[int]
    routes: RouteTable
    assignments: _containers.RepeatedCompositeFieldContainer[NodeAssignment]
    sites: _containers.RepeatedScalarFieldContainer[str]
    epoch: int
    revocations: Revocations
    fronts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, routes: _Optional[_Union[RouteTable, _Mapping]] = ..., assignments: _Optional[_Iterable[_Union[NodeAssignment, _Mapping]]] = ..., sites: _Optional[_Iterable[str]] = ..., epoch: _Optional[int] = ..., revocations: _Optional[_Union[Revocations, _Mapping]] = ..., fronts: _Optional[_Iterable[str]] = ...) -> None: ...

class Revocations(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, keys: _Optional[_Iterable[str]] = ...) -> None: ...

class NodeAssignment(_message.Message):
    __slots__ = ("node", "assignment")
    NODE_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    node: str
    assignment: Assignment
    def __init__(self, node: _Optional[str] = ..., assignment: _Optional[_Union[Assignment, _Mapping]] = ...) -> None: ...

class RouteTable(_message.Message):
    __slots__ = ("revision", "services")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    revision: int
    services: _containers.RepeatedCompositeFieldContainer[ServiceRoutes]
    def __init__(self, revision: _Optional[int] = ..., services: _Optional[_Iterable[_Union[ServiceRoutes, _Mapping]]] = ...) -> None: ...

class ServiceRoutes(_message.Message):
    __slots__ = ("namespace", "service", "version", "decision", "zones", "unavailable_reason")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    ZONES_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_REASON_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    service: str
    version: str
    decision: str
    zones: _containers.RepeatedCompositeFieldContainer[ZoneRoutes]
    unavailable_reason: str
    def __init__(self, namespace: _Optional[str] = ..., service: _Optional[str] = ..., version: _Optional[str] = ..., decision: _Optional[str] = ..., zones: _Optional[_Iterable[_Union[ZoneRoutes, _Mapping]]] = ..., unavailable_reason: _Optional[str] = ...) -> None: ...

class ZoneRoutes(_message.Message):
    __slots__ = ("zone", "routes")
    ZONE_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    zone: str
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    def __init__(self, zone: _Optional[str] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("replica", "incarnation", "site", "version", "share", "predicted_ms", "address", "node")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_MS_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    replica: str
    incarnation: str
    site: str
    version: str
    share: float
    predicted_ms: float
    address: str
    node: str
    def __init__(self, replica: _Optional[str] = ..., incarnation: _Optional[str] = ..., site: _Optional[str] = ..., version: _Optional[str] = ..., share: _Optional[float] = ..., predicted_ms: _Optional[float] = ..., address: _Optional[str] = ..., node: _Optional[str] = ...) -> None: ...

class ReplicaReport(_message.Message):
    __slots__ = ("replica", "incarnation", "namespace", "service", "version", "region", "address", "phase", "reason", "digest")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    replica: str
    incarnation: str
    namespace: str
    service: str
    version: str
    region: str
    address: str
    phase: ReplicaPhase
    reason: str
    digest: str
    def __init__(self, replica: _Optional[str] = ..., incarnation: _Optional[str] = ..., namespace: _Optional[str] = ..., service: _Optional[str] = ..., version: _Optional[str] = ..., region: _Optional[str] = ..., address: _Optional[str] = ..., phase: _Optional[_Union[ReplicaPhase, str]] = ..., reason: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class ReplicaOrders(_message.Message):
    __slots__ = ("draining",)
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    draining: bool
    def __init__(self, draining: _Optional[bool] = ...) -> None: ...
