"""YAML text -> plain documents, and where in the text a field stands. Bounded in bytes, depth and expanded size."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import yaml

from orchestrator.errors import InvalidRequest
from orchestrator.model.stored import Json

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000  # after aliases are expanded, so that a few bytes cannot stand for gigabytes
MAX_DEPTH = 64
# JSON and YAML 1.2 call 1e6 a number; the library, which reads YAML 1.1, takes it for text.
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where it was built in: ten times as fast

Lines = dict[str, int]  # field ("spec.demand.0.zone") -> line, counted from 1


class _Loader(Protocol):
    """What is used of the library's loaders, which carry no types."""

    def check_event(self, *choices: type[yaml.Event]) -> bool: ...
    def get_event(self) -> yaml.Event: ...
    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str: ...
    def construct_object(self, node: yaml.Node) -> Json: ...
    def dispose(self) -> None: ...


@dataclass(slots=True)
class _Reader:
    """Builds values straight from parse events: the library's own composer recurses as deep as the text says."""

    loader: _Loader
    source: str
    values: int = 0
    anchors: dict[str, tuple[Json, int]] = field(default_factory=dict)
    lines: Lines = field(default_factory=dict)

    def documents(self) -> Iterator[tuple[Json, Lines]]:
        while not self.loader.check_event(yaml.StreamEndEvent):
            event = self.loader.get_event()
            if isinstance(event, yaml.DocumentStartEvent):
                self.anchors, self.lines = {}, {}
                yield self._value(self.loader.get_event(), "", 0), self.lines

    def _value(self, event: yaml.Event, path: str, depth: int) -> Json:
        self._count(1, event, path)
        self.lines[path] = _line(event)
        if depth > MAX_DEPTH:
            raise self._wrong(event, path, "...", f"nest at most {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path, depth)
        before = self.values
        value: Json
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, path)
        elif isinstance(event, yaml.CollectionStartEvent) and event.tag:
            raise self._wrong(event, path, event.tag, "remove the tag: only plain YAML is read")
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(path, depth)
        else:
            value = self._mapping(path, depth)
        if isinstance(event, yaml.NodeEvent) and event.anchor:
            self.anchors[event.anchor] = (value, self.values - before)
        return value

    def _alias(self, event: yaml.AliasEvent, path: str, depth: int) -> Json:
        if event.anchor not in self.anchors:
            raise self._wrong(event, path, f"*{event.anchor}", "define the anchor before it is used")
        value, size = self.anchors[event.anchor]
        self._count(size, event, path)
        if depth + _height(value) > MAX_DEPTH:
            raise self._wrong(event, path, f"*{event.anchor}", f"nest at most {MAX_DEPTH} levels")
        return value

    def _sequence(self, path: str, depth: int) -> Json:
        items: list[Json] = []
        while not isinstance(event := self.loader.get_event(), yaml.SequenceEndEvent):
            items.append(self._value(event, _join(path, str(len(items))), depth + 1))
        return items

    def _mapping(self, path: str, depth: int) -> Json:
        items: dict[str, Json] = {}
        while not isinstance(event := self.loader.get_event(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._wrong(event, path, "a key that is no text", "use a plain word as key")
            key = event.value
            if not isinstance(self._scalar(event, path), str):
                raise self._wrong(event, _join(path, key), key, f"quote the key: '{key}'")
            if key == "<<" and event.implicit[0]:
                raise self._wrong(event, _join(path, key), key, "write the fields out: merge keys are not read")
            if key in items:
                raise self._wrong(event, _join(path, key), key, "give the field once")
            items[key] = self._value(self.loader.get_event(), _join(path, key), depth + 1)
            self.lines[_join(path, key)] = _line(event)  # where the key stands, not where its value begins
        return items

    def _scalar(self, event: yaml.ScalarEvent, path: str) -> Json:
        tag = event.tag or self.loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        kind = tag.rpartition(":")[2]
        if event.implicit[0] and _EXPONENT.fullmatch(event.value):
            tag, kind = "tag:yaml.org,2002:float", "float"
        if kind in ("str", "timestamp", "merge", "value", ""):  # a date is text here: nothing in our objects is one
            return str(event.value)
        if kind not in ("null", "bool", "int", "float"):
            raise self._wrong(event, path, tag, "remove the tag: only plain YAML is read")
        node = yaml.ScalarNode(tag, event.value)
        try:
            value = self.loader.construct_object(node)
        except ValueError as err:
            raise self._wrong(
                event, path, event.value, f"this is not of type {kind}: correct it, or quote it to make it text"
            ) from err
        if isinstance(value, float) and not math.isfinite(value):
            raise self._wrong(event, path, event.value, "write a finite number")
        return value

    def _count(self, values: int, event: yaml.Event, path: str) -> None:
        self.values += values
        if self.values > MAX_VALUES:
            raise self._wrong(event, path, "...", f"aliases expand to more than {MAX_VALUES} values: write them out")

    def _wrong(self, event: yaml.Event, path: str, value: object, remedy: str) -> InvalidRequest:
        where = f"{self.source}:{_line(event)}"
        return InvalidRequest(f"{where}: {path}" if path else where, value, remedy)


@dataclass(frozen=True, slots=True)
class Written:
    """A document and where its fields stand, for messages about what a later check refuses."""

    document: dict[str, Json]
    lines: Lines

    def line_of(self, field: str) -> int:
        """The line of a field, or of its nearest parent that is there."""
        while field and field not in self.lines:
            field = field.rpartition(".")[0]
        return self.lines[field]


def parse_documents(text: str, source: str) -> list[dict[str, Json]]:
    """The documents of a YAML or JSON file, empty ones left out. Raises InvalidRequest naming file, line and field."""
    return [one.document for one in written_documents(text, source)]


def written_documents(text: str, source: str) -> list[Written]:
    """As `parse_documents`, with the lines."""
    documents: list[Written] = []
    for value, lines in _read(text, source):
        if value is None:
            continue
        if not isinstance(value, dict):
            raise InvalidRequest(f"{source}:{lines['']}", value, "write an object: apiVersion, kind, metadata, spec")
        documents.append(Written(value, lines))
    return documents


def _read(text: str, source: str) -> list[tuple[Json, Lines]]:
    size_bytes = len(text.encode(errors="surrogatepass"))
    if size_bytes > MAX_BYTES:
        raise InvalidRequest(source, f"{size_bytes} bytes", f"split the file: at most {MAX_BYTES} bytes are read")
    try:
        loader: _Loader = _LOADER(text)
        try:
            return list(_Reader(loader, source).documents())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as err:
        line = err.problem_mark.line + 1 if err.problem_mark else 1
        raise InvalidRequest(f"{source}:{line}", err.problem or "", "correct the YAML on this line") from err
    except (yaml.YAMLError, UnicodeError) as err:  # characters that YAML does not allow
        raise InvalidRequest(source, str(err), "save the file as plain UTF-8 text") from err


def _height(value: Json) -> int:
    """Levels below `value`. What is anchored has passed MAX_DEPTH, so this recursion is bounded."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max((1 + _height(item) for item in items), default=0)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _join(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part
