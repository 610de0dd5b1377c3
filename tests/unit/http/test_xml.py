"""XML and JSON say the same (FHIR R4 xml.html, json.html)."""

import gc
import sys
from decimal import Decimal
from typing import Any

import pytest
from lxml import etree

from fhir_server.core import json
from fhir_server.core.outcome import FhirError
from fhir_server.definitions.model import Definitions
from fhir_server.http.xml import XmlCodec
from tests.data import test_data

XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


@pytest.fixture(scope="module")
def codec(definitions: Definitions) -> XmlCodec:
    return XmlCodec(definitions)


def patient(inside: str, attributes: str = 'xmlns="http://hl7.org/fhir"') -> bytes:
    return f"<Patient {attributes}>{inside}</Patient>".encode()


def refusal(codec: XmlCodec, raw: bytes) -> tuple[str, str | None]:
    with pytest.raises(FhirError) as caught:
        codec.to_json(raw)
    assert caught.value.status == 400
    return caught.value.issues[0].diagnostics, caught.value.issues[0].expression


def test_every_official_example_survives_json_to_xml_to_json(codec: XmlCodec) -> None:
    files = sorted(test_data("fhir/examples").rglob("*.json"))
    assert len(files) > 300
    for file in files:
        tree = json.decode(file.read_bytes())
        for pretty in (False, True):
            written = codec.to_xml(tree, pretty=pretty)
            again = codec.to_json(written)
            assert again == tree, file.name
            assert codec.to_xml(again, pretty=pretty) == written, file.name


def test_xml_that_others_wrote_survives_and_its_defects_are_refused(codec: XmlCodec) -> None:
    read = refused = 0
    for file in sorted(test_data("ihe").rglob("*.xml")):
        raw = file.read_bytes()
        if b'http://hl7.org/fhir"' not in raw[:3000]:
            continue
        try:
            tree = codec.to_json(raw)
        except FhirError:
            refused += 1
            continue
        assert codec.to_json(codec.to_xml(tree)) == tree, file.name
        read += 1
    assert read > 150
    assert refused < read / 4


def test_a_read_document_is_released_at_once(codec: XmlCodec) -> None:
    raw = patient("<active value='true'/>") + b" " * 1000
    gc.collect()
    before = sys.getrefcount(raw)
    codec.to_json(raw)
    assert sys.getrefcount(raw) == before


def test_decimals_of_every_official_example_keep_their_digits(codec: XmlCodec) -> None:
    def literals(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [literal for name in sorted(value) for literal in literals(value[name])]
        if isinstance(value, list):
            return [literal for item in value for literal in literals(item)]
        return [json.encode(value).decode()] if isinstance(value, Decimal) else []

    for file in sorted(test_data("fhir/examples").rglob("*.json")):
        tree = json.decode(file.read_bytes())
        assert literals(codec.to_json(codec.to_xml(tree))) == literals(tree), file.name


def test_what_is_written_is_well_formed_for_another_parser_and_in_definition_order(codec: XmlCodec) -> None:
    tree = {"resourceType": "Patient", "birthDate": "2000-01-01", "gender": "female", "name": [{"family": "山田"}]}
    root = etree.fromstring(codec.to_xml(tree))
    assert root.tag == "{http://hl7.org/fhir}Patient"
    assert [etree.QName(child).localname for child in root] == ["name", "gender", "birthDate"]
    assert root[0][0].get("value") == "山田"


@pytest.mark.parametrize("literal", ["1.50", "100.0", "0.00000001", "1e2", "1.0E-7", "12345678901234567890.123", "-7"])
def test_a_decimal_keeps_its_literal(codec: XmlCodec, literal: str) -> None:
    raw = f'{{"resourceType":"Observation","valueQuantity":{{"value":{literal}}}}}'.encode()
    written = codec.to_xml(json.decode(raw))
    assert f'<value value="{literal}"/>'.encode() in written
    assert json.encode(codec.to_json(written)) == raw


@pytest.mark.parametrize(
    "tree",
    [
        {
            "active": True,
            "multipleBirthInteger": 2,
            "_birthDate": {"extension": [{"url": "u", "valueDateTime": "2000"}]},
        },
        {"birthDate": "2000-01-01", "_birthDate": {"id": "b1"}},
        {"name": [{"given": ["a", None, "c"], "_given": [None, {"id": "x"}, {"id": "y"}]}]},
        {"name": [{"_given": [{"id": "x"}]}]},
        {"name": [{"_given": [{"id": "x"}, {"extension": [{"url": "u", "valueString": "v"}]}]}, {"family": "f"}]},
        {"name": [{"id": "n1", "family": 'a "b" <c> & d\n\te\r'}]},
        {"extension": [{"url": "u", "extension": [{"url": "v", "valueCoding": {"code": "c"}}]}]},
        {"contained": [{"resourceType": "Organization", "id": "o"}, {"resourceType": "Basic", "id": "b"}]},
        {"deceasedBoolean": False},
        {"text": {"status": "generated", "div": f"<div {XHTML}>a&amp;b<br/><p></p> &#160;<!-- c -->\r\n</div>"}},
        {"text": {"status": "empty", "div": f"<div title='a>b' {XHTML}/>"}},
    ],
)
def test_a_patient_survives(codec: XmlCodec, tree: dict[str, Any]) -> None:
    whole = {"resourceType": "Patient", **tree}
    assert codec.to_json(codec.to_xml(whole)) == whole
    assert codec.to_json(codec.to_xml(whole, pretty=True)) == whole


def test_binary_parameters_and_bundles_survive(codec: XmlCodec) -> None:
    binary = {"resourceType": "Binary", "id": "1", "contentType": "text/plain", "data": "aGVsbG8="}
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "invalid"}]}
    entry = {"fullUrl": "urn:uuid:1", "resource": binary, "response": {"status": "200", "outcome": outcome}}
    bundle = {"resourceType": "Bundle", "type": "batch-response", "total": 1, "entry": [entry, {"resource": outcome}]}
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "a", "resource": bundle},
                  {"name": "b", "part": [{"name": "c", "valueInteger": 0}]}]}  # fmt: skip
    assert codec.to_json(codec.to_xml(parameters)) == parameters


def test_the_narrative_is_kept_as_it_was_sent(codec: XmlCodec) -> None:
    div = f"<div  {XHTML} class='x'>é<b >bold</b  ><![CDATA[<x>]]>&#xe9;<br /><img alt='' src=\"a\"/></div >"
    raw = patient(f"\n <text><status value='generated'/>\n {div} </text><active value='true'/>")
    tree = codec.to_json(raw)
    assert tree["text"]["div"] == div
    assert tree["active"] is True
    assert div.encode() in codec.to_xml(tree)


def test_a_narrative_without_a_namespace_gets_one(codec: XmlCodec) -> None:
    tree = {"resourceType": "Patient", "text": {"status": "generated", "div": "<div>x</div>"}}
    again = codec.to_json(codec.to_xml(tree))
    assert again["text"]["div"] == f"<div {XHTML}>x</div>"


def test_a_prefixed_or_leaning_narrative_is_refused(codec: XmlCodec) -> None:
    prefixed = f"<text><h:div xmlns:h{XHTML[5:]}>x</h:div></text>"
    assert refusal(codec, patient(prefixed))[1] == "Patient.text"
    outside = 'xmlns="http://hl7.org/fhir" xmlns:svg="http://www.w3.org/2000/svg"'
    leaning = f"<text><div {XHTML}><svg:svg/></div></text>"
    assert refusal(codec, patient(leaning, outside))[1] == "Patient.text.div"


def test_comments_instructions_schema_locations_and_a_byte_order_mark_are_ignored(codec: XmlCodec) -> None:
    attributes = (
        'xmlns="http://hl7.org/fhir" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="a b"'
    )
    raw = b"\xef\xbb\xbf" + patient("<!-- c --><?pi x?>\n<active value='true'/>", attributes)
    assert codec.to_json(raw) == {"resourceType": "Patient", "active": True}


def test_a_prefix_for_the_fhir_namespace_is_fine(codec: XmlCodec) -> None:
    raw = b'<f:Patient xmlns:f="http://hl7.org/fhir"><f:active value="true"/></f:Patient>'
    assert codec.to_json(raw) == {"resourceType": "Patient", "active": True}


@pytest.mark.parametrize(
    ("element", "value"),
    [("active", "yes"), ("multipleBirthInteger", "1.5"), ("multipleBirthInteger", "007"), ("birthDate", " x ")],
)
def test_a_value_that_does_not_fit_stays_text_for_validation(codec: XmlCodec, element: str, value: str) -> None:
    assert codec.to_json(patient(f'<{element} value="{value}"/>'))[element] == value


@pytest.mark.parametrize(
    ("inside", "reason", "expression"),
    [
        ("<colour value='x'/>", "unknown element 'colour'", "Patient.colour"),
        ("<name/><name><given value='a'/><colour/></name>", "unknown element 'colour'", "Patient.name[1].colour"),
        ("<name><given value='a'/><given value='b'><b/></given></name>", "unknown", "Patient.name[0].given[1].b"),
        ("<name><family value='a' use='b'/></name>", "unknown attribute 'use'", "Patient.name[0].family"),
        ("<name value='a'/>", "unknown attribute 'value'", "Patient.name[0]"),
        ("<active value='true'/><active value='true'/>", "more than once", "Patient.active"),
        ("<maritalStatus/><maritalStatus/>", "more than once", "Patient.maritalStatus"),
        ("<active>true</active>", "text between elements", "Patient.active"),
        ("hello", "text between elements", "Patient"),
        ("<active/>", "needs a value", "Patient.active"),
        ("<active value='true' xmlns='http://example.org'/>", "not FHIR's", "Patient.active"),
        ("<contained/>", "expected a resource", "Patient.contained[0]"),
        ("<contained><Robot/></contained>", "unknown resource type 'Robot'", "Patient.contained[0]"),
        ("<contained><Basic/><Basic/></contained>", "found another", "Patient.contained[0]"),
        ("<contained><Basic><x/></Basic></contained>", "unknown element 'x'", "Patient.contained[0].x"),
    ],
)
def test_what_is_not_fhir_is_refused_with_its_place(codec: XmlCodec, inside: str, reason: str, expression: str) -> None:
    said, where = refusal(codec, patient(inside))
    assert reason in said
    assert where == expression


def test_an_unknown_root_is_refused(codec: XmlCodec) -> None:
    assert "unknown resource type 'Robot'" in refusal(codec, b'<Robot xmlns="http://hl7.org/fhir"/>')[0]
    assert "namespace" in refusal(codec, b"<Patient/>")[0]
    assert "unknown resource type" in refusal(codec, b'<DomainResource xmlns="http://hl7.org/fhir"/>')[0]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"   ",
        b"{}",
        b"<Patient",
        b'<Patient xmlns="http://hl7.org/fhir"></b>',
        b'<Patient xmlns="http://hl7.org/fhir"><id value="\xff"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><id value="&#0;"/></Patient>',
        '<Patient xmlns="http://hl7.org/fhir"/>'.encode("utf-16"),
        '<Patient xmlns="http://hl7.org/fhir"/>'.encode("utf-16-le"),
        '<Patient xmlns="http://hl7.org/fhir"/>'.encode("utf-32"),
    ],
)
def test_malformed_xml_is_refused(codec: XmlCodec, raw: bytes) -> None:
    assert "malformed XML" in refusal(codec, raw)[0]


def test_another_encoding_is_refused(codec: XmlCodec) -> None:
    assert "UTF-8" in refusal(codec, b'<?xml version="1.0" encoding="ISO-8859-1"?>' + patient(""))[0]


BOMB = "<!DOCTYPE Patient [<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12))


@pytest.mark.parametrize(
    "prologue",
    [
        BOMB + "]>",
        "<!DOCTYPE Patient>",
        '<!DOCTYPE Patient SYSTEM "http://example.org/x.dtd">',
        '<!DOCTYPE Patient [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
    ],
)
def test_a_document_type_declaration_is_refused_before_any_entity_is_expanded(codec: XmlCodec, prologue: str) -> None:
    said, _ = refusal(codec, prologue.encode() + patient('<id value="&a11;"/>'))
    assert "document type" in said


def test_an_html_entity_is_refused(codec: XmlCodec) -> None:
    assert "malformed" in refusal(codec, patient(f"<text><div {XHTML}>&nbsp;</div></text>"))[0]


def test_nesting_bombs_are_refused(codec: XmlCodec) -> None:
    depth = 5000
    said, _ = refusal(codec, patient("<extension url='u'>" * depth + "</extension>" * depth))
    assert "nested deeper than 64" in said
    said, _ = refusal(codec, patient(f"<text><div {XHTML}>{'<b>' * depth}{'</b>' * depth}</div></text>"))
    assert "nested deeper" in said


def test_what_was_read_is_never_too_deep_for_json(codec: XmlCodec) -> None:
    for depth in range(20, 40):
        raw = patient("<extension url='u'>" * depth + "</extension>" * depth)
        try:
            tree = codec.to_json(raw)
        except FhirError:
            break
        assert json.decode(json.encode(tree)) == tree
    else:
        pytest.fail("no depth was refused")


@pytest.mark.parametrize(
    ("tree", "expression"),
    [
        ({"resourceType": "Patient", "colour": "x"}, "Patient.colour"),
        ({"resourceType": "Patient", "name": [{"given": ["a", "\x01"]}]}, "Patient.name[0].given[1]"),
        ({"resourceType": "Patient", "name": [{"family": "\ud800"}]}, "Patient.name[0].family"),
        ({"resourceType": "Patient", "name": ["x"]}, "Patient.name[0]"),
        ({"resourceType": "Patient", "text": {"div": "<div>&nbsp;</div>"}}, "Patient.text.div"),
        ({"resourceType": "Patient", "text": {"div": "<div></div><script/>"}}, "Patient.text.div"),
        ({"resourceType": "Patient", "text": {"div": "<p/>"}}, "Patient.text.div"),
        ({"resourceType": "Patient", "contained": [{"resourceType": "Robot"}]}, "Patient.contained[0]"),
        ({"resourceType": "Robot"}, "Robot"),
    ],
)
def test_what_has_no_xml_form_is_406_with_its_place(codec: XmlCodec, tree: dict[str, Any], expression: str) -> None:
    with pytest.raises(FhirError) as caught:
        codec.to_xml(tree)
    assert caught.value.status == 406
    assert caught.value.issues[0].expression == expression
