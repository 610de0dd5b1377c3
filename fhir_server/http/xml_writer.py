"""Writes resource trees as FHIR XML (FHIR R4 xml.html)."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from xml.parsers import expat

from fhir_server.core.json import SpelledDecimal
from fhir_server.core.outcome import FhirError
from fhir_server.http.xml_tables import FHIR_NAMESPACE, Kind, Slot, Table, Tables, with_namespace

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
_to_escape = re.compile('[&<"\x00-\x1f\ufffe\uffff\ud800-\udfff]')
_REPLACED = {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_div_start = re.compile(r"<div[\s/>]")


class _FaultError(Exception):
    """Something has no XML form; the path to it grows while the exception travels up."""

    def __init__(self, reason: str, name: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = [name] if name else []


def write(tables: Tables, tree: Mapping[str, Any], *, pretty: bool) -> bytes:  # Any: a resource tree
    """Return the resource as UTF-8 XML; raise :class:`FhirError` 406 if it has no XML form."""
    writer = _Writer(tables, pretty=pretty)
    try:
        writer.resource(tree, f' xmlns="{FHIR_NAMESPACE}"', 0)
    except _FaultError as fault:
        expression = ".".join([str(tree.get("resourceType", "Resource")), *reversed(fault.path)])
        raise FhirError.of(406, "not-supported", f"cannot be written as XML: {fault.reason}", expression) from None
    return (_DECLARATION + "".join(writer.out)).encode()


class _Writer:
    def __init__(self, tables: Tables, *, pretty: bool) -> None:
        self.out: list[str] = []
        self._tables = tables
        self._indents = ["\n" + "  " * depth for depth in range(140)] if pretty else [""] * 140

    def resource(self, tree: Mapping[str, Any], namespace: str, depth: int) -> None:
        type_ = tree.get("resourceType")
        if type_ not in self._tables.resource_types:
            raise _FaultError("not a known resource type")
        assert isinstance(type_, str)
        self._object(type_, tree, self._tables.table(type_), namespace, depth)

    def _object(self, name: str, tree: Mapping[str, Any], table: Table, attributes: str, depth: int) -> None:
        """Write one element with its attributes and children, children in definition order."""
        members = table.members
        entries: list[tuple[int, Slot, Any, Any]] = []
        ordered, last = True, -1
        for member, value in tree.items():
            slot = members.get(member)
            if slot is None:
                slot = table.companions.get(member)
                if slot is None:
                    if member == "resourceType":
                        continue
                    raise _FaultError("unknown element", member[:64])
                if slot.member in tree:
                    continue
                entries.append((slot.order, slot, None, value))
            elif slot.attribute:
                attributes += f' {member}="{_literal(value, member)}"'
                continue
            else:
                companion = tree.get(slot.companion) if slot.primitive else None
                entries.append((slot.order, slot, value, companion))
            if slot.order < last:
                ordered = False
            last = slot.order
        if not ordered:
            entries.sort(key=_order)
        indent = self._indents[depth]
        out = self.out
        if not entries:
            out.append(f"{indent}<{name}{attributes}/>")
            return
        out.append(f"{indent}<{name}{attributes}>")
        for _, slot, value, companion in entries:
            if slot.primitive:
                self._primitives(slot, value, companion, depth + 1)
            elif type(value) is list:
                for index, item in enumerate(value):
                    try:
                        self._value(slot, item, depth + 1)
                    except _FaultError as fault:
                        fault.path.append(f"{slot.name}[{index}]")
                        raise
            else:
                try:
                    self._value(slot, value, depth + 1)
                except _FaultError as fault:
                    fault.path.append(slot.name)
                    raise
        out.append(f"{indent}</{name}>")

    def _value(self, slot: Slot, value: Any, depth: int) -> None:  # Any: a member of a resource tree
        if slot.kind is Kind.XHTML:
            self.out.append(self._indents[depth] + _division(value))
            return
        if type(value) is not dict:
            raise _FaultError("expected an object")
        if slot.kind is Kind.COMPLEX:
            self._object(slot.member, value, self._tables.table(slot.content), "", depth)
            return
        self.out.append(f"{self._indents[depth]}<{slot.member}>")
        self.resource(value, "", depth + 1)
        self.out.append(f"{self._indents[depth]}</{slot.member}>")

    def _primitives(self, slot: Slot, value: Any, companion: Any, depth: int) -> None:  # Any: as received
        """Write a primitive or a list of them, each joined with its ``_x`` companion."""
        if type(value) is str and companion is None:
            if _to_escape.search(value):
                value = _escape(value, slot.name)
            self.out.append(f'{self._indents[depth]}<{slot.member} value="{value}"/>')
            return
        if type(value) is not list and type(companion) is not list:
            self._primitive(slot, value, companion, depth)
            return
        values = value if type(value) is list else []
        companions = companion if type(companion) is list else []
        for index in range(max(len(values), len(companions))):
            try:
                self._primitive(
                    slot,
                    values[index] if index < len(values) else None,
                    companions[index] if index < len(companions) else None,
                    depth,
                )
            except _FaultError as fault:
                if fault.path:
                    fault.path[-1] = f"{slot.name}[{index}]"
                raise

    def _primitive(self, slot: Slot, value: Any, companion: Any, depth: int) -> None:  # Any: as received
        attributes = "" if value is None else f' value="{_literal(value, slot.name)}"'
        if companion is None:
            self.out.append(f"{self._indents[depth]}<{slot.member}{attributes}/>")
            return
        if type(companion) is not dict:
            raise _FaultError("expected an object", slot.name)
        try:
            self._object(slot.member, companion, self._tables.table(slot.content), attributes, depth)
        except _FaultError as fault:
            fault.path.append(slot.name)
            raise


def _order(entry: tuple[int, Slot, Any, Any]) -> int:
    return entry[0]


def _literal(value: object, name: str) -> str:
    """Return a primitive as it stands in an XML attribute."""
    if type(value) is str:
        return _escape(value, name) if _to_escape.search(value) else value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, SpelledDecimal):
        return value.literal
    if isinstance(value, int | Decimal | float):
        return str(value)
    raise _FaultError("expected a primitive value", name)


def _escape(text: str, name: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        character = match.group()
        if character not in _REPLACED:
            raise _FaultError("holds a character that XML does not allow", name)
        return _REPLACED[character]

    return _to_escape.sub(replaced, text)


def _division(value: object) -> str:
    """Return a narrative as it stands in XML: unchanged, after checking that it is one well-formed element."""
    if type(value) is not str or not _div_start.match(value):
        raise _FaultError("a narrative must be one XHTML div element")
    division = with_namespace(value)
    parser = expat.ParserCreate(encoding="UTF-8", namespace_separator=" ")
    try:
        parser.Parse(division.encode(), True)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        raise _FaultError(f"the narrative is not well-formed XML: {error}") from None
    return division
