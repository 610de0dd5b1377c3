"""The HTTP surface over real sockets: resources, formats, limits, and what no honest client sends."""

import gzip
import zlib

import httpx
import pytest

from tests.wire.live import FHIR_JSON, Live
from tests.wire.raw import Raw, outcome

PATIENT = '{"resourceType":"Patient","name":[{"family":"山田","given":["太郎"]}],"gender":"male"}'.encode()


def _create(http: httpx.Client) -> httpx.Response:
    response = http.post("/Patient", content=PATIENT, headers=FHIR_JSON)
    assert response.status_code == 201, response.text
    return response


def test_a_resource_lives_and_dies(http: httpx.Client, server: Live) -> None:
    created = _create(http)
    location = created.headers["location"]
    assert location.startswith(f"{server.base}/Patient/")
    assert created.headers["etag"] == 'W/"1"'
    address = location.removesuffix("/_history/1")
    read = http.get(address)
    assert (read.status_code, read.content) == (200, created.content)
    assert http.get(location).content == created.content
    assert http.get(address, headers={"If-None-Match": 'W/"1"'}).status_code == 304
    changed = read.content.replace(b'"male"', b'"other"')
    assert http.put(address, content=changed, headers={**FHIR_JSON, "If-Match": 'W/"7"'}).status_code == 412
    updated = http.put(address, content=changed, headers={**FHIR_JSON, "If-Match": 'W/"1"'})
    assert (updated.status_code, updated.headers["etag"]) == (200, 'W/"2"')
    assert http.delete(address).status_code in (200, 204)
    assert http.get(address).status_code == 410
    history = http.get(f"{address}/_history").json()
    assert [entry["request"]["method"] for entry in history["entry"]] == ["DELETE", "PUT", "POST"]


def test_head_has_the_headers_of_get_and_no_body(http: httpx.Client) -> None:
    address = _create(http).headers["location"].removesuffix("/_history/1")
    get, head = http.get(address), http.head(address)
    assert head.status_code == 200
    assert head.content == b""
    for name in ("etag", "last-modified", "content-length", "content-type"):
        assert head.headers[name] == get.headers[name]


def test_xml_goes_in_and_out(http: httpx.Client) -> None:
    xml = '<Patient xmlns="http://hl7.org/fhir"><name><family value="佐藤"/></name></Patient>'.encode()
    headers = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}
    created = http.post("/Patient", content=xml, headers=headers)
    assert created.status_code == 201
    assert created.headers["content-type"] == "application/fhir+xml; charset=utf-8"
    assert '<family value="佐藤"/>' in created.text
    address = created.headers["location"]
    assert http.get(address).json()["name"] == [{"family": "佐藤"}]
    assert '<family value="佐藤"/>' in http.get(address, params={"_format": "xml"}).text
    refused = http.post("/Patient", content=b"<Patient", headers=headers)
    assert refused.status_code == 400
    assert "<OperationOutcome" in refused.text


def test_an_xml_entity_bomb_is_400(http: httpx.Client) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><Patient xmlns="http://hl7.org/fhir"/>'
    assert http.post("/Patient", content=bomb, headers={"Content-Type": "application/fhir+xml"}).status_code == 400


def test_gzip_goes_both_ways(http: httpx.Client) -> None:
    packed = http.post("/Patient", content=gzip.compress(PATIENT), headers={**FHIR_JSON, "Content-Encoding": "gzip"})
    assert packed.status_code == 201
    answer = http.get("/metadata", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json()["resourceType"] == "CapabilityStatement"
    assert "content-encoding" not in http.get("/metadata", headers={"Accept-Encoding": "identity"}).headers


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", FHIR_JSON, 400),
        (b"{", FHIR_JSON, 400),
        (b'{"resourceType":"Patient","gender":"male","gender":"female"}', FHIR_JSON, 400),
        (b'{"resourceType":"Patient","name":[{"family":"\xff\xfe"}]}', FHIR_JSON, 400),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, FHIR_JSON, 400),
        (PATIENT, {"Content-Type": "text/plain"}, 415),
        (PATIENT, {}, 415),
        (PATIENT, {**FHIR_JSON, "Content-Encoding": "br"}, 415),
        (PATIENT, {**FHIR_JSON, "Accept": "image/png"}, 406),
    ],
)
def test_bad_content_is_a_clean_4xx(http: httpx.Client, content: bytes, headers: dict[str, str], status: int) -> None:
    response = http.post("/Patient", content=content, headers=headers)
    assert response.status_code == status
    outcome(response.content)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/fhir/Nonsense", 404),
        (b"/fhir/Patient/../../etc/passwd", 404),
        (b"/fhir/Patient/%2e%2e%2f%2e%2e%2fetc", 404),
        (b"/fhir/Patient/%00", 400),
        (b"/fhir/Patient?name=%ff", 400),
        (b"/fhir/Patient?_count=-1", 400),
        (b"/fhir/Patient?nonsense=1", 400),
        (b"/fhirx", 404),
        (b"/nowhere", 404),
        (b"/fhir/Patient?name=" + b"a" * 20_000, 414),
    ],
)
def test_bad_addresses_are_clean_4xx(server: Live, target: bytes, status: int) -> None:
    with Raw(server) as raw:
        raw.send(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answered, _, body = raw.answer()
    assert answered == status
    outcome(body)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /fhir/Patient HTTP/1.1\r\n\r\n", 400),
        (b"GET /fhir/Patient HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /fhir/Patient HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /fhir/Patient HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", 400),
        (b"GET /fhir/Patient HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 150 + b"\r\n", 431),
        (b"GET /fhir/Patient HTTP/1.1\r\nHost: a\r\nX-A: " + b"b" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /fhir/Patient HTTP/1.1\r\nHost: a\r\nX-A: " + b"b" * 200_000, 431),
        (b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
        (b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /fhir/Patient HTTP/1.1\r\nHost: a\r\nIf-None-Match: \xff\xfe\r\n\r\n", 400),
        (b"BREW /fhir/Patient HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"OPTIONS /fhir/Patient HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ],
)
def test_broken_http_is_refused(server: Live, request_: bytes, status: int) -> None:
    with Raw(server) as raw:
        raw.send(request_)
        answered, _, body = raw.answer()
    assert answered == status
    outcome(body)


def test_a_body_announced_too_large_is_413_and_the_connection_goes_on(server: Live) -> None:
    with Raw(server) as raw:
        size = 60 * 1024 * 1024
        raw.send(f"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode())
        status, _, body = raw.answer()
        assert status == 413
        outcome(body)
        raw.send(b" " * size)
        raw.send(b"GET /fhir/metadata HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.answer()[0] == 200


def test_a_stream_without_end_is_413(server: Live) -> None:
    with Raw(server) as raw:
        raw.send(b"POST /fhir/Patient HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n")
        raw.send(b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        for _ in range(52):
            raw.send(chunk)
        assert raw.answer()[0] == 413


def test_a_gzip_bomb_is_413(http: httpx.Client) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b" " * 1024 * 1024) for _ in range(200)) + packer.flush()
    assert len(bomb) < 300_000
    response = http.post("/Patient", content=bomb, headers={**FHIR_JSON, "Content-Encoding": "gzip"})
    assert response.status_code == 413


def test_requests_in_a_row_on_one_connection_are_answered_in_order(server: Live) -> None:
    with Raw(server) as raw:
        raw.send(
            b"GET /fhir/Patient/a HTTP/1.1\r\nHost: a\r\nX-Request-Id: one\r\n\r\n"
            b"GET /fhir/Patient/b HTTP/1.1\r\nHost: a\r\nX-Request-Id: two\r\n\r\n"
        )
        data = b""
        while data.count(b"HTTP/1.1 404") < 2:
            data += raw.socket.recv(65536)
        assert data.index(b"x-request-id: one") < data.index(b"x-request-id: two")


def test_health_metrics_and_front_page_are_there(server: Live) -> None:
    root = f"http://127.0.0.1:{server.port}"
    assert httpx.get(f"{root}/health/live").json() == {"status": "live"}
    assert httpx.get(f"{root}/health/ready").json() == {"status": "ready"}
    assert httpx.get(root).json()["fhir"] == server.base
    assert server.base in httpx.get(root, headers={"Accept": "text/html"}).text
    assert "/metrics" in httpx.get(f"{root}/openapi.json").json()["paths"]


def test_metrics_count_over_all_workers(server: Live) -> None:
    def vreads() -> float:
        lines = httpx.get(f"http://127.0.0.1:{server.port}/metrics").text.splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith('renkei_requests_total{interaction="vr'))

    before = vreads()
    for _ in range(20):  # each on a connection of its own, so that both workers get some
        httpx.get(f"{server.base}/Patient/nobody/_history/1")
    assert vreads() == before + 20


def test_the_log_has_no_patient_data(server: Live, http: httpx.Client) -> None:
    location = _create(http).headers["location"]
    http.get("/Patient", params={"name": "Hikari-Secret"})
    http.get("/Patient/secret-id")
    log = server.log()
    assert "Hikari" not in log
    assert "secret-id" not in log
    assert location.split("/")[-3] not in log
