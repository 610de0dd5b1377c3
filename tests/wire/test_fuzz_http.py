"""Whatever is sent, the answer is no server error, and every refusal is an OperationOutcome."""

import gzip
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests import data
from tests.wire.judge import judge
from tests.wire.live import Live

QUICK = settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    database=None,
)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    server = Live(tmp_path_factory.mktemp("fuzz"), workers=1)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def http(live: Live) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.base, timeout=30, trust_env=False) as client:
        yield client


# --- the vocabulary -----------------------------------------------------------------------------------

TYPES = [
    "Patient",
    "Observation",
    "Encounter",
    "Bundle",
    "ValueSet",
    "Binary",
    "Basic",
    "Parameters",
    "Nothing",
    "patient",
]
types = st.sampled_from(TYPES)
ids = st.sampled_from(
    ["1", "a-b.c", "..", ".", "%2e%2e", "x" * 64, "x" * 65, "a b", "é", "%00", "$everything", "_history"]
)
strange = st.text(max_size=12)
segments = st.one_of(
    types, ids, strange, st.sampled_from(["_history", "_search", "metadata", "$validate", "$meta", "$lastn", "*", "$x"])
)
PARAMETERS = [
    "_id", "_lastUpdated", "_tag", "_profile", "_security", "_source", "_list", "_type", "_text", "_content", "_query",
    "_filter", "_has", "_sort", "_count", "_include", "_revinclude", "_summary", "_elements", "_total", "_contained",
    "_format", "_pretty", "_since", "_at", "name", "family", "birthdate", "gender", "identifier", "code", "date",
    "value-quantity", "subject", "patient", "code-value-quantity", "status", "general-practitioner", "url", "nothing",
]  # fmt: skip
MODIFIERS = [
    "", "", "", ":missing", ":exact", ":contains", ":text", ":not", ":above", ":below", ":in", ":not-in", ":of-type",
    ":identifier", ":Patient", ":iterate", ":x", ":", ".name", ".identifier", ":Patient.name", ".a.b.c.d.e",
    ":Observation:patient:code", ":Observation:patient:_has:Encounter:subject:status",
]  # fmt: skip
VALUES = [
    "", "1", "-1", "0", "99999999999999999999", "true", "false", "x", "gt5", "ap100", "lt", "2020", "2020-13",
    "2020-02-30", "eq2020-01-01T10:00:00Z", "sa2020-01", "0001", "9999-12-31T23:59:59.999+14:00", "http://loinc.org|8302-2",
    "|", "|||", "a|b|c", "a$b", "$", ",", ",,,", "\\", "\\,", "Patient/1", "Patient/", "/", "http://x/Patient/1",
    "Patient/1/_history/1", "5.4|http://unitsofmeasure.org|mg", "5.4||mg", "1e-400", "NaN", "Observation:patient",
    "Patient:general-practitioner:Organization", "*", "*:*", "a:b:c:d", "-date,_lastUpdated,-x", "count", "\x00", "%",
    "山田", "ﾔﾏﾀﾞ", "\u202e", "application/fhir+xml", "json", "html", "text/turtle",
]  # fmt: skip
parameters = st.tuples(
    st.builds(str.__add__, st.sampled_from(PARAMETERS), st.sampled_from(MODIFIERS)),
    st.one_of(
        st.sampled_from(VALUES), st.lists(st.sampled_from(VALUES), min_size=2, max_size=3).map(",".join), strange
    ),
)
queries = st.lists(parameters, max_size=4)
HEADERS = {
    "Accept": ["*/*", "application/fhir+json", "application/fhir+xml", "text/turtle", "x", "", "application/json;q=x"],
    "Content-Type": [
        "application/fhir+json",
        "application/fhir+xml",
        "application/json-patch+json",
        "text/plain",
        "x/",
        "",
    ],
    "If-Match": ['W/"1"', '"1"', "*", "x", 'W/"', ""],
    "If-None-Match": ['W/"1"', "*", "x"],
    "If-Modified-Since": ["Wed, 21 Oct 2015 07:28:00 GMT", "x", "0"],
    "If-None-Exist": ["identifier=a|b", "nothing=1", "%", "", "_count=1", "name:exact=%zz"],
    "Prefer": [
        "return=minimal",
        "return=OperationOutcome",
        "handling=lenient",
        "handling=strict",
        "x=",
        "respond-async",
    ],
    "Content-Encoding": ["gzip", "br", "x", "identity"],
    "Accept-Charset": ["utf-8", "utf-16"],
}
headers = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in HEADERS.items()})
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), strange, st.sampled_from(VALUES)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(strange, inner, max_size=3)),
    max_leaves=8,
)


def url(parts: list[str], query: list[tuple[str, str]]) -> str:
    path = "/".join(quote(part, safe="%$*:@") for part in parts)
    asked = "&".join(f"{quote(name, safe=':.$')}={quote(value, safe='|:/,$')}" for name, value in query)
    return f"/{path}?{asked}" if asked else f"/{path}"


@QUICK
@given(kind=types, query=queries, sent=headers, by=st.sampled_from(["GET", "HEAD", "POST"]))
def test_searches(http: httpx.Client, kind: str, query: list[tuple[str, str]], sent: dict[str, str], by: str) -> None:
    if by == "POST":
        form = url([], query).partition("?")[2]
        sent = {**sent, "Content-Type": "application/x-www-form-urlencoded"}
        sent.pop("Content-Encoding", None)
        judge(http.post(f"/{kind}/_search", content=form, headers=sent))
    else:
        judge(http.request(by, url([kind], query), headers=sent))


@QUICK
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "LINK"]),
    parts=st.lists(segments, max_size=5),
    query=queries,
    sent=headers,
    body=st.one_of(st.just(b""), st.binary(max_size=40), json_values.map(lambda value: json.dumps(value).encode())),
)
def test_any_request(
    http: httpx.Client, method: str, parts: list[str], query: list[tuple[str, str]], sent: dict[str, str], body: bytes
) -> None:
    judge(http.request(method, f"{http.base_url}".rstrip("/") + url(parts, query), headers=sent, content=body))


# --- mutated resources -----------------------------------------------------------------------------------


def _examples() -> list[dict[str, Any]]:
    folder = data.ROOT / "fhir" / "examples"
    paths = sorted(folder.glob("*/*.json"))[::3]
    found = [json.loads(path.read_bytes()) for path in paths if path.stat().st_size < 20_000]
    return found or [
        {"resourceType": "Patient", "id": "1", "name": [{"family": "A", "given": ["B"]}], "birthDate": "2000-01-01"},
        {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "valueQuantity": {"value": 1.5}},
    ]


EXAMPLES = st.deferred(lambda: st.sampled_from(_examples()))


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Return a published example with one to three wrong places."""
    resource = json.loads(json.dumps(draw(EXAMPLES)))
    for _ in range(draw(st.integers(1, 3))):
        holder: Any = resource
        while True:
            choices = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not choices:
                break
            at = draw(st.sampled_from(choices))
            inner = holder[at]
            if isinstance(inner, dict | list) and inner and draw(st.booleans()):
                holder = inner
                continue
            match draw(st.sampled_from(["drop", "replace", "wrap", "rename", "twice"])):
                case "drop":
                    del holder[at]
                case "replace":
                    holder[at] = draw(json_values)
                case "wrap":
                    holder[at] = [inner]
                case "rename" if isinstance(holder, dict):
                    holder[draw(strange)] = holder.pop(at)
                case _:
                    holder[at] = [inner, inner]
            break
    return resource


@QUICK
@given(resource=mutated(), how=st.sampled_from(["create", "update", "validate", "batch", "transaction"]), sent=headers)
def test_mutated_resources(http: httpx.Client, resource: Any, how: str, sent: dict[str, str]) -> None:
    kind = resource.get("resourceType")
    kind = kind if isinstance(kind, str) and kind.isalpha() else "Patient"
    logical_id = resource.get("id")
    logical_id = logical_id if isinstance(logical_id, str) and logical_id.isalnum() else "1"
    sent = {name: value for name, value in sent.items() if name not in ("Content-Type", "Content-Encoding")}
    sent["Content-Type"] = "application/fhir+json"
    method, path, body = "POST", f"/{kind}", resource
    if how == "update":
        method, path = "PUT", f"/{kind}/{logical_id}"
    elif how == "validate":
        path = f"/{kind}/$validate"
    elif how in ("batch", "transaction"):
        entry = {"fullUrl": "urn:uuid:0a1b2c3d-0000-4000-8000-000000000001", "resource": resource}
        entry["request"] = {"method": "POST", "url": kind}
        path, body = "", {"resourceType": "Bundle", "type": how, "entry": [entry]}
    judge(http.request(method, path, headers=sent, content=json.dumps(body).encode()))


@QUICK
@given(
    operations=st.lists(
        st.fixed_dictionaries(
            {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"])},
            optional={
                "path": st.sampled_from(["", "/", "/name/0", "/name/-", "/id", "/x/y", "x", "/~2", "/name/01"]),
                "from": st.sampled_from(["/name", "/id", "/x"]),
                "value": json_values,
            },
        ),
        max_size=3,
    )
)
def test_json_patches(http: httpx.Client, operations: list[dict[str, Any]]) -> None:
    patient = {"resourceType": "Patient", "id": "patched", "name": [{"family": "A"}]}
    http.put("/Patient/patched", json=patient, headers={"Content-Type": "application/fhir+json"})
    patch = {"Content-Type": "application/json-patch+json"}
    judge(http.patch("/Patient/patched", content=json.dumps(operations).encode(), headers=patch))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"resourceType":"Patient","id":"\xc3\x28"}',
        b'{"resourceType":"Patient","gender":"male","gender":"female"}',
        b'{"resourceType":"Patient","x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"resourceType":"Patient","multipleBirthInteger":1e999999999}',
        b'{"resourceType":"Patient","name":[{"family":"\\ud800"}]}',
        b'{"resourceType":"Patient","name":[{"family":"\\u0000"}]}',
        gzip.compress(bytes(100 << 20), mtime=0),
    ],
    ids=[
        "empty",
        "open",
        "null",
        "array",
        "text",
        "not-utf8",
        "bad-utf8",
        "twice",
        "deep",
        "huge-number",
        "surrogate",
        "nul",
        "bomb",
    ],
)
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_broken_bodies(http: httpx.Client, body: bytes, encoding: str) -> None:
    sent = {"Content-Type": "application/fhir+json", "Content-Encoding": encoding}
    answer = http.post("/Patient", content=body, headers=sent)
    judge(answer)
    assert answer.status_code >= 400


raw_heads = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda line, fields: line + b"\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n",
        st.sampled_from(
            [
                b"GET /fhir/Patient HTTP/1.1",
                b"GET /fhir/Patient HTTP/9.9",
                b"GET  HTTP/1.1",
                b"\x00",
                b"POST /fhir HTTP/1.1",
            ]
        ),
        st.lists(
            st.sampled_from(
                [
                    b"Host: x",
                    b"Host:",
                    b"Content-Length: -1",
                    b"Content-Length: 5",
                    b"Content-Length: 6",
                    b"Transfer-Encoding: chunked",
                    b"Transfer-Encoding: x",
                    b"X: " + b"y" * 70_000,
                    b" folded",
                    b"no-colon",
                    b"Expect: 100-continue",
                    b"Connection: close",
                ]
            ),
            max_size=4,
        ),
    ),
)


@settings(QUICK, max_examples=80)
@given(head=raw_heads)
def test_raw_bytes_are_answered_with_a_4xx_or_closed(live: Live, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection:
        try:
            connection.sendall(head)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
        except ConnectionError:
            answer = b""
    assert not answer or answer[9:10] in (b"1", b"2", b"4"), answer[:200]


def test_the_server_is_unharmed_afterwards(live: Live, http: httpx.Client) -> None:
    assert live.ready()
    assert live.failed() == ""
    assert http.get("/metadata").status_code == 200
    assert "Traceback" not in live.log()
