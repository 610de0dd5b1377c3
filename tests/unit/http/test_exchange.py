"""Headers, formats, preconditions, limits and failures at the edge."""

import asyncio
import gzip
import zlib

import pytest

from fhir_server.core.outcome import FhirError
from fhir_server.core.request import FhirRequest, FhirResponse, PatchFormat, Preconditions
from fhir_server.http.app import Limits
from tests.unit.http.conftest import PATIENT, Client

JSON = {"Content-Type": "application/fhir+json"}


async def test_a_read_carries_etag_and_last_modified_and_the_stored_bytes(client: Client) -> None:
    answer = await client.send("GET", "/Patient/1")
    assert answer.status == 200
    assert answer.body == PATIENT
    assert answer.headers["etag"] == 'W/"3"'
    assert answer.headers["last-modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert answer.headers["content-length"] == str(len(PATIENT))
    assert answer.headers["x-request-id"].startswith("t-")


async def test_a_good_request_id_is_kept_and_a_bad_one_replaced(client: Client) -> None:
    assert (await client.send("GET", "/Patient/1", {"X-Request-Id": "abc-1"})).headers["x-request-id"] == "abc-1"
    assert (await client.send("GET", "/Patient/1", {"X-Request-Id": 'a"\t'})).headers["x-request-id"] != 'a"\t'


async def test_location_is_absolute() -> None:
    client = Client(FhirResponse(status=201, location="Patient/9/_history/1"))
    answer = await client.send("POST", "/Patient", JSON, PATIENT)
    assert answer.headers["location"] == "http://server.example:8080/fhir/Patient/9/_history/1"
    assert answer.headers["content-length"] == "0"


@pytest.mark.parametrize("host", ["", "a b", "evil/../", "x\ty", "a:b:c"])
async def test_a_bad_host_is_400(client: Client, host: str) -> None:
    assert (await client.send("GET", "/Patient/1", {"Host": host})).status == 400


async def test_two_hosts_are_400(client: Client) -> None:
    assert (await client.send("GET", "/Patient/1", [("Host", "a"), ("Host", "b")])).status == 400


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/fhir+json", 200),
        ("application/json;q=0.9, text/turtle", 200),
        ("*/*", 200),
        ("application/fhir+json; fhirVersion=4.0", 200),
        ("application/fhir+json; fhirVersion=3.0", 406),
        ("text/turtle", 406),
        ("application/pdf", 406),
        ("application/fhir+json;q=0", 406),
    ],
)
async def test_accept_decides_or_is_406(client: Client, accept: str, status: int) -> None:
    answer = await client.send("GET", "/Patient/1", {"Accept": accept})
    assert answer.status == status
    if status == 406:
        assert answer.outcome["issue"]


async def test_format_beats_accept(client: Client) -> None:
    assert (await client.send("GET", "/Patient/1?_format=json", {"Accept": "text/turtle"})).status == 200
    assert (await client.send("GET", "/Patient/1?_format=application/fhir+json")).status == 200
    assert (await client.send("GET", "/Patient/1?_format=ttl")).status == 406


async def test_pretty_is_indented(client: Client) -> None:
    assert b'\n  "id": "1"' in (await client.send("GET", "/Patient/1?_pretty=true")).body


async def test_a_large_answer_is_gzipped_for_those_who_accept_it() -> None:
    body = b'{"resourceType":"Bundle","x":"' + b"a" * 5000 + b'"}'
    client = Client(FhirResponse(status=200, body=(body[:20], body[20:])))
    packed = await client.send("GET", "/Patient", {"Accept-Encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["vary"]
    assert gzip.decompress(packed.body) == body
    assert (await client.send("GET", "/Patient", {"Accept-Encoding": "gzip;q=0"})).body == body
    assert (await client.send("GET", "/Patient")).body == body


async def test_conditional_headers_reach_the_door_parsed(client: Client) -> None:
    await client.send(
        "GET", "/Patient/1", {"If-None-Match": 'W/"3"', "If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"}
    )
    assert client.request.preconditions == Preconditions(if_none_match="3", if_modified_since=1_700_000_000_000)


async def test_several_entity_tags_are_a_choice(client: Client) -> None:
    headers = {"If-None-Match": 'W/"3", "4" ,5', "If-Match": 'W/"1", W/"2"'}
    await client.send("DELETE", "/Patient/1", headers)
    assert client.request.preconditions == Preconditions(if_match="1,2", if_none_match="3,4,5")


async def test_if_none_exist_and_prefer_reach_the_door(client: Client) -> None:
    headers = {**JSON, "If-None-Exist": "Patient?identifier=a|b", "Prefer": "return=minimal; handling=lenient"}
    await client.send("POST", "/Patient", headers, PATIENT)
    assert client.request.preconditions.if_none_exist == "identifier=a|b"
    assert (client.request.preferences.return_, client.request.preferences.handling) == ("minimal", "lenient")


@pytest.mark.parametrize(
    ("header", "value"), [("If-Match", 'W/"1" W/"2"'), ("If-None-Match", "W/x y"), ("If-None-Exist", " ")]
)
async def test_a_broken_condition_is_400(client: Client, header: str, value: str) -> None:
    assert (await client.send("PUT", "/Patient/1", {**JSON, header: value}, PATIENT)).status == 400
    assert not client.asked


async def test_an_unreadable_date_is_ignored(client: Client) -> None:
    await client.send("GET", "/Patient/1", {"If-Modified-Since": "yesterday"})
    assert client.request.preconditions.if_modified_since is None


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, PATIENT, 415),
        ({"Content-Type": "text/plain"}, PATIENT, 415),
        ({"Content-Type": "application/fhir+json; charset=shift_jis"}, PATIENT, 415),
        ({"Content-Type": "application/fhir+json; fhirVersion=5.0"}, PATIENT, 415),
        ({**JSON, "Content-Encoding": "br"}, PATIENT, 415),
        (JSON, b"", 400),
        (JSON, b"[1]", 400),
        (JSON, b'"x"', 400),
        (JSON, b"{", 400),
        (JSON, b'{"a":1,"a":2}', 400),
        (JSON, b'{"a":"\xff"}', 400),
        (JSON, b"[" * 100_000, 400),
        ({**JSON, "Content-Encoding": "gzip"}, b"not gzip", 400),
        ({**JSON, "Content-Encoding": "gzip"}, gzip.compress(PATIENT, mtime=0)[:-9], 400),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(
    client: Client, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = await client.send("POST", "/Patient", headers, body)
    assert answer.status == status
    assert answer.outcome["issue"][0]["diagnostics"]
    assert not client.asked


async def test_a_gzipped_body_is_read(client: Client) -> None:
    await client.send("POST", "/Patient", {**JSON, "Content-Encoding": "gzip"}, gzip.compress(PATIENT))
    assert client.request.body == PATIENT


async def test_a_body_over_the_limit_is_413_before_and_after_decompression() -> None:
    client = Client(FhirResponse(status=200), limits=Limits(body=1000))
    assert (await client.send("POST", "/Patient", JSON, [b"x" * 600, b"x" * 600])).status == 413
    assert (await client.send("POST", "/Patient", {**JSON, "Content-Length": "1001"}, b"")).status == 413
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = bomb.compress(b" " * 300_000) + bomb.flush()
    assert len(packed) < 1000
    assert (await client.send("POST", "/Patient", {**JSON, "Content-Encoding": "gzip"}, packed)).status == 413


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json-patch+json", b"[]", PatchFormat.JSON),
        ("application/json", b"[]", PatchFormat.JSON),
        ("application/fhir+json", b'{"resourceType":"Parameters"}', PatchFormat.FHIRPATH),
    ],
)
async def test_the_language_of_a_patch_is_recognised(
    client: Client, content_type: str, body: bytes, expected: PatchFormat
) -> None:
    await client.send("PATCH", "/Patient/1", {"Content-Type": content_type}, body)
    assert client.request.patch_format is expected


async def test_an_operation_may_have_no_body(client: Client) -> None:
    assert (await client.send("POST", "/Patient/1/$everything")).status == 200
    assert client.request.resource is None


async def test_head_asks_the_door_as_get(client: Client) -> None:
    await client.send("HEAD", "/Patient/1")
    assert client.request.method == "GET"


async def test_304_has_no_body() -> None:
    async def unchanged(_: FhirRequest) -> FhirResponse:
        return FhirResponse(status=304, version_id="3")

    answer = await Client(unchanged).send("GET", "/Patient/1", {"If-None-Match": 'W/"3"'})
    assert (answer.status, answer.body, "content-length" in answer.headers) == (304, b"", False)


async def test_a_failure_of_the_door_is_an_outcome_with_its_headers() -> None:
    async def refuse(_: FhirRequest) -> FhirResponse:
        error = FhirError.of(412, "conflict", "version 2 was expected", "Patient")
        error.headers["Retry-After"] = "7"
        raise error

    answer = await Client(refuse).send("GET", "/Patient/1")
    assert (answer.status, answer.headers["retry-after"]) == (412, "7")
    assert answer.outcome["issue"][0]["expression"] == ["Patient"]


async def test_a_crash_is_500_and_says_nothing_of_the_data(caplog: pytest.LogCaptureFixture) -> None:
    async def crash(_: FhirRequest) -> FhirResponse:
        raise RuntimeError("Yamada Taro")

    answer = await Client(crash).send("GET", "/Patient/1")
    assert answer.status == 500
    assert b"Yamada" not in answer.body


async def test_the_door_is_told_when_the_time_is_over_and_is_not_broken_off() -> None:
    async def slow(_: FhirRequest) -> FhirResponse:
        await asyncio.sleep(0.05)
        return FhirResponse(status=204)

    client = Client(slow, limits=Limits(request_timeout=0.02))
    before = asyncio.get_running_loop().time()
    assert (await client.send("DELETE", "/Patient/1")).status == 204
    assert client.request.deadline == pytest.approx(before + 0.02, abs=0.01)


async def test_over_the_limit_of_parallel_requests_is_503_with_retry_after() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def wait(_: FhirRequest) -> FhirResponse:
        entered.set()
        await release.wait()
        return FhirResponse(status=200)

    client = Client(wait, limits=Limits(concurrency=1))
    first = asyncio.create_task(client.send("GET", "/Patient/1"))
    await entered.wait()
    second = await client.send("GET", "/Patient/1")
    assert (second.status, second.headers["retry-after"]) == (503, "1")
    release.set()
    assert (await first).status == 200


async def test_a_body_that_does_not_arrive_is_408() -> None:
    client = Client(FhirResponse(status=200), limits=Limits(body_timeout=0.02))
    sent = []

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: object) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "scheme": "http", "raw_path": b"/fhir/Patient", "query_string": b"",
        "headers": [(b"host", b"a"), (b"content-type", b"application/json")],
    }  # fmt: skip
    await client.application(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 408  # type: ignore[index]


async def test_requests_are_counted_by_interaction_and_status(client: Client) -> None:
    from prometheus_client.exposition import generate_latest

    await client.send("GET", "/Patient/1")
    await client.send("GET", "/Nonsense")
    text = generate_latest(client.counters.registry()).decode()
    assert 'renkei_requests_total{interaction="read",status="2xx"} 1.0' in text
    assert 'renkei_requests_total{interaction="none",status="4xx"} 1.0' in text
