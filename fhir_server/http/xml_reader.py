"""Reads FHIR XML into resource trees (FHIR R4 xml.html)."""

import re
from decimal import Decimal
from typing import Any
from xml.parsers import expat

from fhir_server.core.json import SpelledDecimal
from fhir_server.core.outcome import FhirError, bad_request
from fhir_server.http.xml_tables import FHIR_NAMESPACE, Kind, Slot, Table, Tables, with_namespace

MAX_DEPTH = 64
MAX_NARRATIVE_DEPTH = 200
_BOM = b"\xef\xbb\xbf"
_STRING = Kind.STRING
_SCHEMA_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance "
_closed_tag = re.compile(rb"""<[^\s/>]+(?:\s+[^\s=/>]+\s*=\s*(?:"[^"]*"|'[^']*'))*\s*/>""")
_integer = re.compile(r"-?(0|[1-9][0-9]{0,30})\Z", re.ASCII)
_decimal = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z", re.ASCII)


def read(tables: Tables, raw: bytes) -> dict[str, Any]:  # Any: a resource tree
    """Return the resource; raise :class:`FhirError` 400 unless it is well-formed FHIR XML of a known type."""
    return _Reader(tables, raw.removeprefix(_BOM)).run()


class _Frame:
    """An open element: the object it fills, and where that belongs. ``table`` is None while a resource is awaited."""

    __slots__ = ("depth", "slot", "table", "tree", "value", "valueless")

    def __init__(self, slot: Slot | None, table: Table | None, tree: dict[str, Any], depth: int) -> None:
        self.slot = slot
        self.table = table
        self.tree = tree
        self.depth = depth
        self.value: str | None = None
        self.valueless: list[Slot] | None = None


class _Reader:
    """One pass over one document."""

    def __init__(self, tables: Tables, raw: bytes) -> None:
        self._tables = tables
        self._raw = raw
        self._element = tables.table("Element")
        self._root: dict[str, Any] = {}
        self._stack = [_Frame(None, None, self._root, 0)]
        self._narrative_depth = 0
        self._narrative_start = 0
        self._prefixes = False
        parser = expat.ParserCreate(encoding="UTF-8", namespace_separator=" ")
        parser.buffer_text = True  # a megabyte of line ends is not a million events
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype
        parser.XmlDeclHandler = self._declaration
        parser.StartNamespaceDeclHandler = self._namespace
        self._parser = parser

    def run(self) -> dict[str, Any]:
        if b"\0" in self._raw:  # UTF-16 and UTF-32, which the parser would guess, and what no encoding allows
            raise bad_request("malformed XML: it holds NUL bytes; XML must be UTF-8", "structure")
        try:
            self._parser.Parse(self._raw, True)
        except expat.ExpatError as error:
            where = f"line {error.lineno}, column {error.offset + 1}"
            raise bad_request(f"malformed XML: {expat.ErrorString(error.code)} at {where}", "structure") from None
        finally:
            del self._parser  # it refers back to this object: the document would stay until a collection
        return self._root

    # -- the parser's events

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._narrative_depth:
            self._narrative_depth += 1
            if self._narrative_depth > MAX_NARRATIVE_DEPTH:
                raise self._fault(f"a narrative nested deeper than {MAX_NARRATIVE_DEPTH} levels", "too-long")
            return
        frame = self._stack[-1]
        table = frame.table
        if table is None:
            self._start_resource(frame, name, attributes)
            return
        slot = table.elements.get(name)
        if slot is None:
            raise self._unknown(name)
        depth = frame.depth + (2 if slot.many else 1)
        if depth > MAX_DEPTH:
            raise self._fault(f"elements nested deeper than {MAX_DEPTH} levels", "too-long")
        tree: dict[str, Any] = {}
        if slot.primitive:
            opened = _Frame(slot, self._element, tree, depth)
            self._stack.append(opened)
            opened.value = attributes.pop("value", None)
        elif slot.kind is Kind.XHTML:
            self._narrative_depth = 1
            self._narrative_start = self._parser.CurrentByteIndex
            return
        else:
            kind = slot.kind
            self._attach(frame, slot, tree)
            opened = _Frame(slot, self._tables.table(slot.content) if kind is Kind.COMPLEX else None, tree, depth)
            self._stack.append(opened)
        if attributes:
            self._attributes(opened, attributes)

    def _start_resource(self, frame: _Frame, name: str, attributes: dict[str, str]) -> None:
        resource_type = self._tables.resources.get(name)
        if resource_type is None:
            namespace, _, local = name.rpartition(" ")
            if namespace == FHIR_NAMESPACE:
                raise self._fault(f"unknown resource type '{local[:64]}'", "structure")
            raise self._fault(f"expected a resource in the namespace {FHIR_NAMESPACE}", "structure")
        if frame.tree:
            raise self._fault("expected one resource, found another", "structure")
        frame.tree["resourceType"] = resource_type
        opened = _Frame(None, self._tables.table(resource_type), frame.tree, frame.depth)
        self._stack.append(opened)
        if attributes:
            self._attributes(opened, attributes)

    def _end(self, _name: str) -> None:
        if self._narrative_depth:
            self._narrative_depth -= 1
            if self._narrative_depth == 0:
                self._end_narrative()
            return
        frame = self._stack[-1]
        if frame.valueless:
            for slot in frame.valueless:
                if not any(value is not None for value in frame.tree[slot.member]):
                    del frame.tree[slot.member]
        slot_ = frame.slot
        if slot_ is not None:
            if slot_.primitive:
                self._end_primitive(frame, slot_)
            elif slot_.kind is Kind.RESOURCE and not frame.tree:
                raise self._fault("expected a resource", "structure")
        self._stack.pop()

    def _end_primitive(self, frame: _Frame, slot: Slot) -> None:
        """Add the value to its member, and its id and extensions to the companion at the same place."""
        companion = frame.tree or None
        value: object = frame.value
        if slot.kind is not _STRING and frame.value is not None:
            value = _value(slot.kind, frame.value)
        if value is None and companion is None:
            raise self._fault("an element needs a value, an id or extensions", "structure")
        parent = self._stack[-2]
        tree = parent.tree
        if not slot.many:
            if slot.member in tree or slot.companion in tree:
                raise self._fault("given more than once", "structure")
            if value is not None:
                tree[slot.member] = value
            if companion is not None:
                tree[slot.companion] = companion
            return
        values: list[Any] = tree.setdefault(slot.member, [])
        values.append(value)
        companions = tree.get(slot.companion)
        if companions is not None:
            companions.append(companion)
        elif companion is not None:
            tree[slot.companion] = [None] * (len(values) - 1) + [companion]
        if value is None:
            if parent.valueless is None:
                parent.valueless = []
            if slot not in parent.valueless:
                parent.valueless.append(slot)

    def _end_narrative(self) -> None:
        """Cut the div out of the document as it was sent."""
        start, end = self._narrative_start, self._parser.CurrentByteIndex
        if not _closed_tag.match(self._raw, start, end):
            end = self._raw.index(b">", end) + 1
        division = self._raw[start:end].decode()
        frame = self._stack[-1]
        if not division.startswith("<div"):
            raise self._fault("the narrative's div must not have a namespace prefix", "structure")
        division = with_namespace(division)
        if self._prefixes:
            self._check_alone(division)
        if "div" in frame.tree:
            raise self._fault("given more than once", "structure", "div")
        frame.tree["div"] = division

    def _check_alone(self, division: str) -> None:
        """A div must not lean on a prefix declared outside it: it is kept as a text of its own."""
        try:
            expat.ParserCreate(encoding="UTF-8", namespace_separator=" ").Parse(division.encode(), True)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise self._fault(f"the narrative is not well-formed on its own: {reason}", "structure", "div") from None

    def _text(self, text: str) -> None:
        if not self._narrative_depth and not text.isspace():
            raise self._fault("text between elements: FHIR values are attributes", "structure")

    def _doctype(self, *_: object) -> None:
        raise bad_request("a document type declaration (and with it entities) is not allowed", "structure")

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "us-ascii"):
            raise bad_request(f"XML must be UTF-8, not '{encoding[:32]}'", "structure")

    def _namespace(self, prefix: str | None, _uri: str | None) -> None:
        if prefix is not None and not self._narrative_depth:
            self._prefixes = True

    # -- placing

    def _attach(self, frame: _Frame, slot: Slot, tree: dict[str, Any]) -> None:
        if slot.many:
            frame.tree.setdefault(slot.member, []).append(tree)
        elif slot.member in frame.tree:
            raise self._fault("given more than once", "structure", slot.name)
        else:
            frame.tree[slot.member] = tree

    def _attributes(self, frame: _Frame, attributes: dict[str, str]) -> None:
        for name, value in attributes.items():
            slot = frame.table.attributes.get(name) if frame.table is not None else None
            if slot is not None:
                frame.tree[name] = value
            elif not name.startswith(_SCHEMA_INSTANCE):
                raise self._fault(f"unknown attribute '{name.rpartition(' ')[2][:64]}'", "structure")

    # -- saying where

    def _unknown(self, name: str) -> FhirError:
        namespace, _, local = name.rpartition(" ")
        inside = "" if namespace == FHIR_NAMESPACE else " in a namespace that is not FHIR's"
        return self._fault(f"unknown element '{local[:64]}'{inside}", "structure", local[:64])

    def _fault(self, reason: str, code: str, name: str = "") -> FhirError:
        """Return the error for the innermost open element, or for ``name`` inside it."""
        steps = [str(self._root.get("resourceType", ""))]
        for outer, frame in zip(self._stack, self._stack[1:], strict=False):
            slot = frame.slot
            if slot is None:
                continue
            step = slot.name
            if slot.many:
                there = len(outer.tree.get(slot.member, ()))
                step += f"[{there if slot.primitive else there - 1}]"
            steps.append(step)
        if name:
            steps.append(name)
        line = self._parser.CurrentLineNumber
        return bad_request(f"{reason} (line {line})", code, ".".join(step for step in steps if step) or None)


def _value(kind: Kind, text: str) -> object:
    """Return the JSON value of a primitive; text that does not fit its type stays text, for validation to report."""
    if kind is Kind.BOOLEAN:
        return {"true": True, "false": False}.get(text, text)
    if _integer.match(text):
        return int(text)
    if kind is Kind.DECIMAL and _decimal.match(text):
        number = Decimal(text)
        return number if str(number) == text else SpelledDecimal(text)
    return text
