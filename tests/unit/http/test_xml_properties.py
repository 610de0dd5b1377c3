"""Random resources survive XML, and no bytes make the reader fail otherwise than by refusing."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.core import json
from fhir_server.core.outcome import FhirError
from fhir_server.definitions.model import Definitions, Element, TypeRef
from fhir_server.http.xml import XmlCodec

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", min_codepoint=32)
    | st.sampled_from("\t\n\r\"'<>&"),
    min_size=1,
    max_size=8,
)
NUMBERS = st.sampled_from(["1.50", "-0.0", "1e2", "1E-7", "0.000000000001", "12345678901234567890.10", "7"])
DIVS = st.sampled_from(["x", "<b>x</b>", "<br/>", "a &amp; b", "<!-- c -->", "<p\n>é</p >"])
TYPES = ["Patient", "Observation", "Bundle", "Parameters", "Questionnaire", "ValueSet", "Binary", "Timing"]


@pytest.fixture(scope="module")
def codec(definitions: Definitions) -> XmlCodec:
    return XmlCodec(definitions)


class Trees:
    """Draws trees of a type from the definitions themselves."""

    def __init__(self, definitions: Definitions, draw: st.DrawFn) -> None:
        self._definitions = definitions
        self._draw = draw

    def resource(self, type_: str, depth: int) -> dict[str, Any]:
        return {"resourceType": type_, **self.members(type_, depth)}

    def members(self, path: str, depth: int) -> dict[str, Any]:
        elements = self._definitions.structures[path.partition(".")[0]].children[path]
        chosen = self._draw(st.lists(st.sampled_from(elements), max_size=4, unique_by=lambda element: element.name))
        tree: dict[str, Any] = {}
        for element in chosen:
            name, type_ = self._draw(st.sampled_from(element.json_names()))
            self._member(tree, name, element, type_, depth)
        return tree

    def _member(self, tree: dict[str, Any], name: str, element: Element, type_: TypeRef, depth: int) -> None:
        structure = self._definitions.structures[type_.code]
        many = element.max != 1
        count = self._draw(st.integers(1, 3)) if many else 1
        if structure.kind == "primitive-type" and type_.code != "xhtml" and not element.xml_attribute:
            values = [self._primitive(type_.code) for _ in range(count)]
            companions: list[Any] = [self._companion(depth) for _ in range(count)]
            values = [None if companion and self._draw(st.booleans()) else value
                      for value, companion in zip(values, companions, strict=True)]  # fmt: skip
            if any(value is not None for value in values):
                tree[name] = values if many else values[0]
            if any(companions):
                tree["_" + name] = companions if many else companions[0]
        elif structure.kind == "primitive-type":
            tree[name] = self._primitive(type_.code)
        elif depth > 0:
            made = [self._complex(element, type_, depth - 1) for _ in range(count)]
            tree[name] = made if many else made[0]

    def _companion(self, depth: int) -> dict[str, Any] | None:
        if depth <= 0 or not self._draw(st.booleans()):
            return None
        return {"id": self._draw(TEXT)} | self.members("Element", depth - 1)

    def _complex(self, element: Element, type_: TypeRef, depth: int) -> dict[str, Any]:
        if self._definitions.structures[type_.code].kind == "resource":
            return self.resource(self._draw(st.sampled_from(TYPES[:-1])), depth)
        return self.members(element.children or type_.code, depth)

    def _primitive(self, code: str) -> Any:
        if code == "xhtml":
            return f'<div xmlns="http://www.w3.org/1999/xhtml">{self._draw(DIVS)}</div>'
        if code == "boolean":
            return self._draw(st.booleans())
        if code in ("integer", "positiveInt", "unsignedInt"):
            return self._draw(st.integers(-(2**31), 2**31))
        if code == "decimal":
            return json.decode(self._draw(NUMBERS).encode())
        return self._draw(TEXT)


@st.composite
def trees(draw: st.DrawFn, definitions: Definitions) -> dict[str, Any]:
    return Trees(definitions, draw).resource(draw(st.sampled_from(TYPES[:-1])), 4)


def survives(codec: XmlCodec, tree: dict[str, Any], *, pretty: bool = False) -> bool:
    """Equal, and every digit is there: member order is all that may change."""
    again = codec.to_json(codec.to_xml(tree, pretty=pretty))
    return again == tree and sorted(json.encode(again)) == sorted(json.encode(tree))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), pretty=st.booleans())
def test_any_tree_of_known_elements_survives(
    data: st.DataObject, pretty: bool, definitions: Definitions, codec: XmlCodec
) -> None:
    assert survives(codec, data.draw(trees(definitions)), pretty=pretty)


@pytest.mark.parametrize(
    ("sent", "damaged"),
    [
        (rb'="1e2"', b'="1E+2"'),
        (rb'<given id="[^"]*"/>', b""),
        (rb'<given value="[^"]*"/>(.*)(<given [^>]*/>)', rb"\2\1"),
    ],
)
def test_the_property_catches_a_seeded_fault(
    sent: bytes, damaged: bytes, definitions: Definitions, codec: XmlCodec
) -> None:
    class Careless(XmlCodec):
        def to_xml(self, tree: Any, *, pretty: bool = False) -> bytes:
            return re.sub(sent, damaged, super().to_xml(tree, pretty=pretty), flags=re.DOTALL)

    tree = {
        "resourceType": "Patient",
        "extension": [{"url": "u", "valueDecimal": json.decode(b"1e2")}],
        "name": [{"given": [None, "b", "c"], "_given": [{"id": "x"}, None, None]}],
    }
    assert survives(codec, tree)
    assert not survives(Careless(definitions), tree)


PIECES = [
    b'<Patient xmlns="http://hl7.org/fhir">', b"</Patient>", b"<name>", b"</name>", b'<given value="a"/>', b"<given>",
    b"</given>", b'<extension url="u">', b"</extension>", b"<text>", b"</text>", b"<!DOCTYPE a>", b"<contained>",
    b"</contained>", b'<div xmlns="http://www.w3.org/1999/xhtml">', b"</div>", b"&amp;", b"\xff", b"<![CDATA[", b"]]>",
    b"<!--", b"-->", b"x", b" ", b"<", b"\x00", b'<?xml version="1.0"?>',
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=12))
def test_any_bytes_are_read_or_refused(pieces: list[bytes], codec: XmlCodec) -> None:
    status = 0
    try:
        assert codec.to_json(b"".join(pieces))["resourceType"] == "Patient"
    except FhirError as error:
        status = error.status
    assert status in (0, 400)
