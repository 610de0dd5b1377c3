"""Every URL form of http.html means one interaction; everything else is a clean 4xx."""

import pytest

from fhir_server.core.outcome import FhirError
from fhir_server.core.request import Interaction
from fhir_server.interactions.addresses import parameters, resolve, resolve_entry
from tests.unit.http.conftest import TYPES, Client


@pytest.mark.parametrize(
    ("method", "path", "interaction"),
    [
        ("GET", "", Interaction.SEARCH_SYSTEM),
        ("GET", "/", Interaction.SEARCH_SYSTEM),
        ("POST", "", Interaction.BUNDLE),
        ("POST", "/_search", Interaction.SEARCH_SYSTEM),
        ("GET", "/metadata", Interaction.CAPABILITIES),
        ("GET", "/_history", Interaction.HISTORY_SYSTEM),
        ("GET", "/$versions", Interaction.OPERATION),
        ("GET", "/Patient", Interaction.SEARCH_TYPE),
        ("GET", "/Patient/", Interaction.SEARCH_TYPE),
        ("POST", "/Patient", Interaction.CREATE),
        ("PUT", "/Patient", Interaction.UPDATE),
        ("PATCH", "/Patient", Interaction.PATCH),
        ("DELETE", "/Patient", Interaction.DELETE),
        ("POST", "/Patient/_search", Interaction.SEARCH_TYPE),
        ("GET", "/Patient/_history", Interaction.HISTORY_TYPE),
        ("POST", "/Patient/$validate", Interaction.OPERATION),
        ("GET", "/Patient/1", Interaction.READ),
        ("PUT", "/Patient/1", Interaction.UPDATE),
        ("PATCH", "/Patient/1", Interaction.PATCH),
        ("DELETE", "/Patient/1", Interaction.DELETE),
        ("GET", "/Patient/1/_history", Interaction.HISTORY_INSTANCE),
        ("GET", "/Patient/1/_history/2", Interaction.VREAD),
        ("GET", "/Patient/1/$everything", Interaction.OPERATION),
        ("GET", "/Patient/1/_history/2/$meta", Interaction.OPERATION),
        ("GET", "/Patient/1/*", Interaction.SEARCH_COMPARTMENT),
        ("GET", "/Patient/1/Observation", Interaction.SEARCH_COMPARTMENT),
        ("POST", "/Patient/1/Observation/_search", Interaction.SEARCH_COMPARTMENT),
        ("POST", "/Patient/1/_search", Interaction.SEARCH_COMPARTMENT),
        ("GET", "/%50atient/%31", Interaction.READ),
    ],
)
def test_an_address_means_its_interaction(method: str, path: str, interaction: Interaction) -> None:
    assert resolve(method, path, TYPES).interaction is interaction


def test_the_parts_of_an_address_are_kept() -> None:
    vread = resolve("GET", "/Patient/a-1/_history/7", TYPES)
    assert (vread.resource_type, vread.id, vread.version_id) == ("Patient", "a-1", "7")
    inside = resolve("GET", "/Patient/1/Observation", TYPES)
    assert (inside.resource_type, inside.compartment) == ("Observation", ("Patient", "1"))
    assert resolve("GET", "/Patient/1/*", TYPES).resource_type is None
    assert resolve("POST", "/Patient/1/$everything", TYPES).operation == "$everything"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/Nonsense", 404),
        ("GET", "/patient/1", 404),
        ("GET", "/Nonsense/1", 404),
        ("GET", "/Patient/..", 404),
        ("GET", "/Patient/../metadata", 404),
        ("GET", "/Patient/%2e%2e", 404),
        ("GET", "/Patient/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/Patient//1", 404),
        ("GET", "//Patient/1", 404),
        ("GET", "/Patient/1%00", 400),
        ("GET", "/Patient/%zz", 400),
        ("GET", "/Patient/%ff", 400),
        ("GET", "/Patient/a b", 404),
        ("GET", "/Patient/" + "a" * 65, 404),
        ("PUT", "/Patient/" + "a" * 65, 400),
        ("PUT", "/Patient/a_b", 400),
        ("PUT", "/Patient/..", 400),
        ("GET", "/Patient/1/Nonsense", 404),
        ("GET", "/Patient/1/_history/2/3", 404),
        ("GET", "/Patient/1/_history/2/3/4", 404),
        ("GET", "/Patient/$", 404),
        ("GET", "/$x;y", 404),
        ("GET", "/_search", 405),
        ("GET", "/Patient/_search", 405),
        ("POST", "/metadata", 405),
        ("POST", "/Patient/1", 405),
        ("DELETE", "", 405),
        ("PUT", "/Patient/1/_history/1", 405),
        ("DELETE", "/Patient/1/$meta", 405),
        ("BREW", "/Patient/1", 405),
    ],
)
def test_a_broken_address_is_refused(method: str, path: str, status: int) -> None:
    with pytest.raises(FhirError) as caught:
        resolve(method, path, TYPES)
    assert caught.value.status == status
    assert (status == 405) == ("Allow" in caught.value.headers)


BASE = "http://server.test/fhir"


@pytest.mark.parametrize("url", ["Patient/1", "/Patient/1", f"{BASE}/Patient/1", "%50atient/1", "Patient/1?x=a+b"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_entry_names_what_the_same_url_names_at_the_edge(method: str, url: str) -> None:
    target, query = resolve_entry(method, url, BASE, TYPES)
    assert target == resolve("GET", "/Patient/1", TYPES)
    assert query == ((("x", "a b"),) if "?" in url else ())


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("BREW", "Patient/1", 400),
        ("GET", "http://other.test/fhir/Patient/1", 400),
        ("POST", "", 405),
        ("POST", "Patient/1", 405),
        ("GET", "Patient/1/Nonsense", 404),
        ("GET", "Patient?x=%zz", 400),
        ("GET", "Patient/1%00", 400),
    ],
)
def test_an_entry_with_a_broken_address_is_refused(method: str, url: str, status: int) -> None:
    with pytest.raises(FhirError) as caught:
        resolve_entry(method, url, BASE, TYPES)
    assert caught.value.status == status


def test_parameters_keep_their_order_and_empty_values() -> None:
    assert parameters("name=%E5%B1%B1&name=a+b&&birthdate=&x") == (
        ("name", "山"),
        ("name", "a b"),
        ("birthdate", ""),
        ("x", ""),
    )


@pytest.mark.parametrize("query", ["name=%E5%B1", "name=%", "name=%g0", "name=%00", "a=" + "&a=" * 1001])
def test_a_broken_query_is_400(query: str) -> None:
    with pytest.raises(FhirError) as caught:
        parameters(query)
    assert caught.value.status == 400


async def test_format_and_pretty_do_not_reach_the_door(client: Client) -> None:
    await client.send("GET", "/Patient?_format=json&name=a&_pretty=true")
    assert client.request.query == (("name", "a"),)


async def test_search_by_post_merges_url_and_form(client: Client) -> None:
    await client.send(
        "POST",
        "/Patient/_search?gender=female",
        {"Content-Type": "application/x-www-form-urlencoded"},
        b"name=%E5%B1%B1%E7%94%B0&_format=json",
    )
    assert client.request.query == (("gender", "female"), ("name", "山田"))
    assert client.request.interaction is Interaction.SEARCH_TYPE


async def test_non_ascii_in_the_url_is_400(client: Client) -> None:
    answer = await client.send("GET", "/Patient?name=\xe9")
    assert answer.status == 400
    assert answer.outcome["issue"][0]["severity"] == "error"
