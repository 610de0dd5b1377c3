"""Binary over HTTP: raw content in and out, and the resource for those who ask for FHIR."""

import base64

import pytest

from fhir_server.core.request import FhirResponse
from fhir_server.http.xml import XmlCodec
from tests.flow.client import Client as FlowClient
from tests.unit.http.conftest import Answer, Client

PDF = b"%PDF-1.7\x00\xff\r\n"
FHIR = {"Accept": "application/fhir+json"}


@pytest.fixture
def http(client: FlowClient) -> Client:
    """The HTTP application on a real door."""
    return Client(client.door.handle, xml=XmlCodec(client.context.definitions))


async def stored(http: Client, media_type: str = "application/pdf", content: bytes = PDF, **headers: str) -> str:
    answer = await http.send("POST", "/Binary", {"Content-Type": media_type, **headers}, content)
    assert answer.status == 201, answer.body
    return "/Binary/" + answer.headers["location"].split("/Binary/")[1].split("/")[0]


@pytest.mark.parametrize("accept", [{}, {"Accept": "*/*"}, {"Accept": "application/pdf"}, {"Accept": "text/html"}])
async def test_content_comes_back_as_it_was_sent_with_its_own_type(http: Client, accept: dict[str, str]) -> None:
    url = await stored(http)
    for address in (url, f"{url}/_history/1"):
        answer = await http.send("GET", address, accept)
        assert (answer.status, answer.body) == (200, PDF)
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.headers["content-length"] == str(len(PDF))
        assert answer.headers["etag"] == 'W/"1"'


async def test_a_browser_is_told_not_to_guess_and_not_to_show_it(http: Client) -> None:
    url = await stored(http, "text/html", b"<script>alert(1)</script>")
    headers = (await http.send("GET", url, {"Accept": "text/html"})).headers
    assert headers["content-disposition"] == "attachment"
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


@pytest.mark.parametrize("accept", ["application/fhir+json", "application/fhir+json, */*;q=0.1", "application/json"])
async def test_who_asks_for_fhir_gets_the_resource(http: Client, accept: str) -> None:
    answer = await http.send("GET", await stored(http), {"Accept": accept})
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert base64.b64encode(PDF) in answer.body
    assert "content-disposition" not in answer.headers


async def test_xml_and_format_ask_for_fhir_too(http: Client) -> None:
    url = await stored(http)
    assert b"<Binary " in (await http.send("GET", url, {"Accept": "application/fhir+xml"})).body
    assert b'"resourceType"' in (await http.send("GET", f"{url}?_format=json")).body


async def test_an_update_replaces_the_content_under_its_id(http: Client) -> None:
    url = await stored(http)
    answer = await http.send("PUT", url, {"Content-Type": "text/plain; charset=utf-8", "Accept": "text/plain"}, b"new")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/fhir+json")
    read = await http.send("GET", url)
    assert (read.body, read.headers["content-type"]) == (b"new", "text/plain; charset=utf-8")


async def test_the_security_context_is_kept_both_ways(http: Client) -> None:
    url = await stored(http, **{"X-Security-Context": "Patient/p"})
    assert (await http.send("GET", url)).headers["x-security-context"] == "Patient/p"
    assert b'"securityContext":{"reference":"Patient/p"}' in (await http.send("GET", url, FHIR)).body


async def test_a_binary_resource_is_stored_as_a_resource(http: Client) -> None:
    body = b'{"resourceType":"Binary","contentType":"image/png","data":"%b"}' % base64.b64encode(b"\x89PNG")
    answer = await http.send("POST", "/Binary", {"Content-Type": "application/fhir+json"}, body)
    assert answer.status == 201
    url = "/Binary/" + answer.headers["location"].split("/Binary/")[1].split("/")[0]
    assert (await http.send("GET", url)).body == b"\x89PNG"


@pytest.mark.parametrize("size", [0, 300 * 1024])
async def test_no_content_and_much_content(http: Client, size: int) -> None:
    content = bytes(range(256)) * (size // 256)
    url = await stored(http, content=content)
    answer = await http.send("GET", url)
    assert (answer.status, answer.body) == (200, content)


async def test_failures_are_told_in_json_whatever_is_accepted(http: Client) -> None:
    answer = await http.send("GET", "/Binary/none", {"Accept": "application/pdf"})
    assert answer.status == 404
    assert answer.outcome["issue"]
    assert (await http.send("GET", await stored(http), {"If-None-Match": 'W/"1"'})).status == 304


async def test_other_types_and_searches_take_and_give_fhir_only(http: Client) -> None:
    assert (await http.send("POST", "/Patient", {"Content-Type": "application/pdf"}, PDF)).status == 415
    assert (await http.send("POST", "/Binary", {}, PDF)).status == 415
    assert (await http.send("GET", "/Binary", {"Accept": "application/pdf"})).status == 406


@pytest.mark.parametrize("media_type", ["text/html\r\nSet-Cookie: a", "x", "text/ä", "a/b; c=d\x00"])
async def test_a_stored_type_that_is_none_cannot_reach_the_headers(media_type: str) -> None:
    import msgspec

    body = msgspec.json.encode({"resourceType": "Binary", "contentType": media_type, "data": "not base64"})
    answer: Answer = await Client(FhirResponse(status=200, body=(body,))).send("GET", "/Binary/1")
    assert answer.headers["content-type"] == "application/octet-stream"
