"""The JSON codec keeps every digit and refuses what FHIR JSON does not allow."""

import json as stdlib_json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.core import json


@pytest.mark.parametrize(
    "literal",
    ["1.50", "100.0", "-0.0", "1e2", "1E+2", "0.00000001", "12345678901234567890.123", "12345678901234567890", "0"],
)
def test_a_number_comes_back_as_it_was_spelled(literal: str) -> None:
    raw = f'{{"value":{literal}}}'.encode()
    assert json.encode(json.decode(raw)) == raw


def test_member_order_and_text_are_kept() -> None:
    raw = '{"z":"山田","a":[1,{"y":true,"b":null}],"m":"\\"q\\":"}'.encode()
    assert json.encode(json.decode(raw)) == raw


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"a":1,"a":2}', "duplicate JSON member name 'a'"),
        (b'{"a" :1, "a": "x\\":"}', "duplicate JSON member name 'a'"),
        (b'{"o":{"b":1,"b" : 2}, "c":":x"}', "duplicate JSON member name 'b'"),
        (b'{"a":"\\":", "b":1,"b":1}', "duplicate JSON member name 'b'"),
        (b"[" * 5000, "nested too deeply"),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, "nested too deeply"),
        (b'{"a":1, "b":"\\ud800"}', "JSON|UTF"),
        (b'{"a":NaN}', "malformed JSON"),
        (b'{"a":Infinity}', "malformed JSON"),
        (b'{"a":"\xff\xfe"}', "invalid UTF-8"),
        (b'{"a":1,}', "malformed JSON"),
        (b"", "malformed JSON"),
        (b'{"a":01}', "malformed JSON"),
        (b"{'a':1}", "malformed JSON"),
        (b'{"a":1} {"b":2}', "malformed JSON"),
    ],
)
def test_what_is_not_strict_json_is_refused_with_its_reason(raw: bytes, says: str) -> None:
    with pytest.raises(json.JsonError, match=says):
        json.decode(raw)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values, st.sampled_from([None, 1, 4]))
def test_any_json_value_survives_in_any_layout(value: object, indent: int | None) -> None:
    raw = stdlib_json.dumps(value, indent=indent).encode()
    assert json.decode(raw) == value
    assert stdlib_json.loads(json.encode(json.decode(raw))) == value


@given(st.dictionaries(st.text(max_size=5), values, min_size=1, max_size=5), st.sampled_from([": ", ":", " : ", "\n:"]))
def test_a_doubled_member_is_always_found(members: dict[str, object], colon: str) -> None:
    pairs = [*members.items(), next(iter(members.items()))]
    body = ",".join(f"{stdlib_json.dumps(name)}{colon}{stdlib_json.dumps(value)}" for name, value in pairs)
    with pytest.raises(json.JsonError, match=r"duplicate|nested"):
        json.decode(b"{" + body.encode() + b"}")
