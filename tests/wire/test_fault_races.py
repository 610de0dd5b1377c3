"""Races of many clients: conditional creates, read-modify-write, and paging while others write."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.wire.ingest import SYSTEM, Ledger, bundle, observation, verify
from tests.wire.live import FHIR_JSON, Live, client, total


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    server = Live(tmp_path_factory.mktemp("races"))
    try:
        yield server.start()
    finally:
        server.stop()


async def test_of_200_parallel_conditional_creates_exactly_one_creates(live: Live) -> None:
    condition = f"identifier={SYSTEM}|only-one"
    headers = {**FHIR_JSON, "If-None-Exist": condition}
    body = observation("only-one")
    async with client(live, connections=50, seconds=60) as http:

        async def create() -> httpx.Response:
            for _ in range(20):
                answer = await http.post("/Observation", json=body, headers=headers)
                if answer.status_code != 503:
                    return answer
            return answer

        answers = await asyncio.gather(*(create() for _ in range(200)))
        assert {answer.status_code for answer in answers} == {200, 201}
        assert [answer.status_code for answer in answers].count(201) == 1
        assert await total(http, f"/Observation?{condition}") == 1
        places = {answer.headers["location"] for answer in answers if "location" in answer.headers}
        assert len(places) == 1


async def test_parallel_conditional_creates_inside_transactions_create_one(live: Live) -> None:
    condition = f"identifier={SYSTEM}|only-one-bundle"
    entry = {
        "fullUrl": "urn:uuid:0a1b2c3d-0000-4000-8000-00000000000f",
        "resource": observation("only-one-bundle"),
        "request": {"method": "POST", "url": "Observation", "ifNoneExist": condition},
    }
    body = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    async with client(live, connections=20, seconds=60) as http:
        answers = await asyncio.gather(*(http.post("", json=body, headers=FHIR_JSON) for _ in range(40)))
        assert {answer.status_code for answer in answers} <= {200, 409, 503}
        assert await total(http, f"/Observation?{condition}") == 1


async def _increment(http: httpx.AsyncClient, place: str, times: int) -> None:
    for _ in range(times):
        while True:
            answer = await http.get(place)
            if answer.status_code == 503:
                continue
            counter: dict[str, Any] = answer.json()
            counter["valueInteger"] += 1
            headers = {**FHIR_JSON, "If-Match": answer.headers["etag"]}
            written = await http.put(place, json=counter, headers=headers)
            if written.status_code == 200:
                break
            assert written.status_code in (409, 412, 503), written.text


async def test_50_parallel_read_modify_write_loops_lose_no_update(live: Live) -> None:
    loops, times = 50, 2
    counter = observation("counter")
    del counter["valueQuantity"]
    counter |= {"id": "counter", "valueInteger": 0}
    place = "/Observation/counter"
    async with client(live, connections=50, seconds=60) as http:
        created = await http.put(place, json=counter, headers=FHIR_JSON)
        assert created.status_code == 201, created.text
        await asyncio.gather(*(_increment(http, place, times) for _ in range(loops)))
        last = (await http.get(place)).json()
        assert last["valueInteger"] == loops * times
        assert last["meta"]["versionId"] == str(1 + loops * times)
        assert await _versions(http, place) == [str(number) for number in range(1 + loops * times, 0, -1)]


async def _versions(http: httpx.AsyncClient, place: str) -> list[str]:
    found: list[str] = []
    url: str | None = f"{place}/_history?_count=30"
    while url:
        page = (await http.get(url)).json()
        found += [entry["resource"]["meta"]["versionId"] for entry in page["entry"]]
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    return found


@pytest.mark.parametrize("order", ["", "&_sort=-date", "&_sort=_lastUpdated", "&_sort=-_lastUpdated", "&_sort=status"])
async def test_paging_while_others_write_repeats_and_loses_nothing(live: Live, order: str) -> None:
    run = f"page{order.replace('&_sort=', '')}".replace("_", "u")
    code = {"coding": [{"system": "urn:example:paging", "code": run}]}
    stopping = asyncio.Event()
    async with client(live, connections=16, seconds=60) as http:

        async def put(number: int, value: int) -> None:
            resource = {**observation(f"{run}-{number}"), "code": code, "id": f"{run}-{number}"}
            resource["effectiveDateTime"] = f"2024-05-{1 + number % 28:02d}T10:00:{value % 60:02d}+09:00"
            answer = await http.put(f"/Observation/{run}-{number}", json=resource, headers=FHIR_JSON)
            assert answer.status_code in (200, 201, 409, 412, 503), answer.text

        async def disturb(offset: int) -> None:
            turn = 0
            while not stopping.is_set():
                turn += 1
                await put(1000 + offset * 10_000 + turn, turn)  # a new one
                await put((offset * 37 + turn * 11) % 100, turn)  # a changed one

        await asyncio.gather(*(put(number, 0) for number in range(100)))
        writers = [asyncio.create_task(disturb(offset)) for offset in range(3)]
        seen: list[str] = []
        url: str | None = f"/Observation?code=urn:example:paging|{run}&_count=7{order}"
        while url and len(seen) < 5000:
            page = (await http.get(url)).json()
            assert page["resourceType"] == "Bundle", page
            seen += [entry["resource"]["id"] for entry in page.get("entry", [])]
            url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
        stopping.set()
        await asyncio.gather(*writers)
    assert len(seen) == len(set(seen)), "a resource came twice"
    missing = {f"{run}-{number}" for number in range(100)} - set(seen)
    assert not missing, f"{len(missing)} resources that were there all the time never came"


async def test_the_check_for_lost_writes_sees_a_lost_write_and_half_a_transaction(live: Live) -> None:
    async with client(live) as http:
        lost = Ledger("lost")
        lost.sent_singles.add("lost-1")
        lost.singles["lost-1"] = f"{live.base}/Observation/lost-1/_history/1"
        with pytest.raises(AssertionError, match="acknowledged lost-1 is 404"):
            await verify(http, live, lost)
        half = Ledger("half")
        body = bundle("half-1")
        body["entry"] = body["entry"][:-1]
        assert (await http.post("", json=body, headers=FHIR_JSON)).status_code == 200
        half.sent_bundles.add("half-1")
        with pytest.raises(AssertionError, match="transaction half-1"):
            await verify(http, live, half)
