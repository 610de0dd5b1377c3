"""Tables in MongoDB: questions are answered from the declared indexes, and failures are the contract's."""

from typing import Any

import pytest

from adapters.dicom.archive.fields import LAYOUTS
from adapters.dicom.archive.find import ImageQuery, Match
from adapters.dicom.archive.query import plan
from adapters.dicom.model import Level
from fhir_server.core.change import StoreUnavailable
from fhir_server.core.tables import RowQuery, RowWrite
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.storage.mongo.tables import _rows_of
from tests.unit.dicom.test_archive_find import fill

NEWEST = (("f.when", -1), ("_id", 1))


def stages(plan: dict[str, Any]) -> list[str]:
    inner = [*plan.get("inputStages", ()), *([plan["inputStage"]] if "inputStage" in plan else [])]
    return [plan["stage"], *(stage for one in inner for stage in stages(one))]


@pytest.mark.parametrize(
    ("tag", "value", "order"),
    [
        ("00100020", "P1", NEWEST),
        ("00080061", "CT", NEWEST),
        ("00080020", "20240101-20241231", NEWEST),
        ("00080050", "A-1", (("_id", 1),)),
        ("00100010", "山田*", (("_id", 1),)),
    ],
)
async def test_a_study_is_looked_up_in_an_index_that_also_gives_the_order(
    mongo: MongoStore, tag: str, value: str, order: tuple[tuple[str, int], ...]
) -> None:
    await mongo.tables.prepare(LAYOUTS)
    await fill(mongo.tables)
    where = plan(ImageQuery(level=Level.STUDY, matches=(Match(tag, (value,)),))).study.where
    cursor = mongo._database["table.dicom"].find(_rows_of("dicom.study", where), sort=list(order))
    used = stages((await cursor.explain())["queryPlanner"]["winningPlan"])
    assert "COLLSCAN" not in used
    assert "IXSCAN" in used
    assert order is not NEWEST or "SORT" not in used


async def test_where_the_database_is_away_the_store_is_unavailable() -> None:
    store = MongoStore.connect("mongodb://127.0.0.1:1/?replicaSet=rs", patience_ms=50)
    row = RowWrite(table="t", id="a", revision=1, content=b"")
    for asked in (
        store.tables.find(RowQuery(table="t")),
        store.tables.get("t", ("a",)),
        store.tables.write((row,)),
    ):
        with pytest.raises(StoreUnavailable):
            await asked
    await store.close()
