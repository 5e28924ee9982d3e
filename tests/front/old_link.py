"""The link as agents of two releases ago know it: today's messages less every field that came since."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from protos.link.v1 import link_pb2

SINCE = {
    "FrontMessage": {"taken"},
    "NodeReport": {"number", "delta", "gone", "legs_hold_ms", "kept"},
    "FrontReport": {"delta", "forgotten"},
    "NodeState": {"report_age_ms"},
}


def _old_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    link_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = "old_link.proto", "skerry.old"
    del file.service[:]
    for message in file.message_type:
        fields = [field for field in message.field if field.name not in SINCE.get(message.name, ())]
        del message.field[:]
        message.field.extend(fields)
        for part in (message, *message.nested_type):
            for field in part.field:
                if field.type_name:
                    field.type_name = field.type_name.replace(".skerry.link.v1.", ".skerry.old.")
    return file


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"skerry.old.{name}"))


_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(_old_file().SerializeToString())
OLD_NODE_MESSAGE, OLD_HELLO, OLD_FRONT_MESSAGE = (_message(n) for n in ("NodeMessage", "NodeHello", "FrontMessage"))
OLD_WELCOME, OLD_REPORT = _message("FrontWelcome"), _message("NodeReport")


def old_front_message(data: bytes) -> Any:
    """An agent drops what it does not know; a message of no known kind is none to it."""
    return OLD_FRONT_MESSAGE.FromString(data)
