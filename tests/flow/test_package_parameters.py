"""Search parameters of added packages: in force by themselves, and never for a part of the resources only."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_server.core.query import Key
from fhir_server.definitions import registry
from fhir_server.definitions.model import Definitions
from fhir_server.interactions import reindex
from fhir_server.interactions.context import Validator
from fhir_server.interactions.published import key_of, put_published
from fhir_server.search.parameters import SearchRegistry
from tests.data import test_data
from tests.flow.client import Client, make_context
from tests.flow.test_search_parameters import parameter

PACKAGE = "jp/jp-fhir-packages/jp-core.r4-1.1.2-url-snapshot.tgz"
KANA = "http://jpfhir.jp/fhir/core/SearchParameter/JP_Patient_KanaSort_SP"
PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "name": [
        {
            "use": "usual",
            "text": "ヤマダ タロウ",
            "extension": [
                {"url": "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation", "valueCode": "SYL"}
            ],
        }
    ],
}


@pytest.fixture(scope="module")
def package() -> Path:
    return test_data(PACKAGE)


@pytest.fixture(scope="module")
def trees(package: Path) -> list[dict[str, Any]]:
    return registry.published_parameters([package])


@pytest.fixture
def client(
    cache: Path,
    package: Path,
    definitions: Definitions,
    validator: Validator,
    compile_search: Callable[[Definitions], SearchRegistry],
) -> Client:
    loaded = registry.load_apart(cache, [package])
    assert loaded.search_parameters == definitions.search_parameters
    assert len(loaded.packages) == 2
    return Client(make_context(loaded, validator, compile_search(loaded), compile_search))


async def test_a_parameter_of_a_package_finds_what_was_stored_before_the_package_came(
    client: Client, trees: list[dict[str, Any]]
) -> None:
    await client.put("Patient/p", PATIENT)
    assert (await client.get("Patient?jp-kana-sort=ヤマダ")).status == 400
    assert len(await put_published(client.door, trees)) == len(trees) == 8
    assert (await client.get("Patient?jp-kana-sort=ヤマダ")).status == 503
    assert len(await reindex.complete_pending(client.door)) == 8
    assert (await client.get("Patient?jp-kana-sort=ヤマダ")).ids == ["p"]


async def test_at_the_next_start_nothing_is_written_and_all_is_in_force_at_once(
    client: Client, trees: list[dict[str, Any]]
) -> None:
    await put_published(client.door, trees)
    await reindex.complete_pending(client.door)
    before = len((await client.get("_history?_count=1000")).entries)
    await put_published(client.door, trees)
    assert client.context.pending == frozenset()
    assert len((await client.get("_history?_count=1000")).entries) == before
    assert (await client.get("Patient?jp-kana-sort=x")).status == 200


async def test_a_new_version_of_a_package_is_indexed_for_again(client: Client, trees: list[dict[str, Any]]) -> None:
    await client.put("Patient/p", {**PATIENT, "name": [{"family": "Yamada"}]})
    await put_published(client.door, trees)
    await reindex.complete_pending(client.door)
    newer = [{**tree, "expression": "Patient.name.family"} if tree["url"] == KANA else tree for tree in trees]
    await put_published(client.door, newer)
    assert (await client.get("Patient?jp-kana-sort=yamada")).status == 503
    assert await reindex.complete_pending(client.door) == (key_of(KANA),)
    assert (await client.get("Patient?jp-kana-sort=yamada")).ids == ["p"]


async def test_one_that_somebody_posted_stays_theirs(client: Client, trees: list[dict[str, Any]]) -> None:
    await client.put("SearchParameter/mine", {**parameter(id="mine", url=KANA), "code": "jp-kana-sort"})
    assert len(await put_published(client.door, trees)) == 7
    assert "mine" in client.context.in_force


async def test_one_that_cannot_be_in_force_is_named_in_the_log_and_harms_nothing(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    bad = parameter(code="family", url="http://x.test/family")
    good = parameter(url="http://x.test/good", status="draft")
    retired = parameter(url="http://x.test/old", status="retired", code="old")
    assert await put_published(client.door, [bad, good, retired]) == [key_of("http://x.test/good")]
    assert "http://x.test/family" in caplog.text
    assert "built-in" in caplog.text
    assert Key("SearchParameter", "nick") not in await client.context.store.get((Key("SearchParameter", "nick"),))
    assert client.context.pending == {"nick"}
