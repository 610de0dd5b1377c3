"""Rows that travel with a transaction through the door."""

from typing import Any

import pytest

from fhir_server.core.request import FhirRequest, Interaction
from fhir_server.core.tables import RowWrite
from tests.flow.client import BASE, Answer, Client

TABLE = "test.film"


def row(id_: str = "1.2.3", revision: int = 1) -> RowWrite:
    return RowWrite(table=TABLE, id=id_, revision=revision, content=b"x")


def bundle(*entries: dict[str, Any], kind: str = "transaction") -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def put(id_: str = "p1") -> dict[str, Any]:
    tree = {"resourceType": "Patient", "id": id_, "active": True}
    return {"resource": tree, "request": {"method": "PUT", "url": f"Patient/{id_}"}}


async def send(client: Client, tree: dict[str, Any], *rows: RowWrite, **more: Any) -> Answer:
    fields = {"interaction": Interaction.BUNDLE, "resource": tree, "method": "POST", "base": BASE, **more}
    return Answer(await client.door.handle(FhirRequest(rows=rows, **fields)))


async def test_a_transaction_writes_its_rows(client: Client) -> None:
    assert (await send(client, bundle(put()), row())).status == 200
    assert list(await client.tables.get(TABLE, ("1.2.3",))) == ["1.2.3"]


async def test_rows_are_written_though_no_resource_changes(client: Client) -> None:
    await send(client, bundle(put()))
    answer = await send(client, bundle(put()), row())
    assert answer.json["entry"][0]["response"]["etag"] == 'W/"1"'
    assert (await send(client, bundle(), row("1.2.4"))).status == 200
    assert (await send(client, {"resourceType": "Bundle", "type": "transaction"}, row("1.2.5"))).status == 200
    assert len(await client.tables.get(TABLE, ("1.2.3", "1.2.4", "1.2.5"))) == 3


async def test_a_stale_row_is_409_names_the_row_and_writes_nothing(client: Client) -> None:
    await send(client, bundle(), row())
    answer = await send(client, bundle(put("p2")), row())
    assert (answer.status, answer.issue["code"]) == (409, "conflict")
    assert "test.film 1.2.3" in answer.issue["diagnostics"]
    assert (await client.send("GET", "/Patient/p2")).status == 404


@pytest.mark.parametrize(
    ("tree", "more"),
    [
        (bundle(put(), kind="batch"), {}),
        (put()["resource"], {"interaction": Interaction.UPDATE, "resource_type": "Patient", "id": "p1"}),
    ],
    ids=["batch", "update"],
)
async def test_only_a_transaction_takes_rows(client: Client, tree: dict[str, Any], more: dict[str, Any]) -> None:
    answer = await send(client, tree, row(), **more)
    assert (answer.status, answer.issue["code"]) == (400, "not-supported")
    assert not await client.tables.get(TABLE, ("1.2.3",))
