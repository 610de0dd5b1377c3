"""What is remembered of studies and instances for a moment."""

from typing import Any

import pytest

from adapters.dicom.archive.find import ImageIndex
from adapters.dicom.web import lookups
from adapters.dicom.web.lookups import Lookups
from fhir_server.storage.tables_memory import MemoryTables
from tests.unit.dicom import images


class Counting:
    """Tables that count what they are asked."""

    def __init__(self, tables: Any) -> None:
        self.tables = tables
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            self.asked += 1
            return await getattr(self.tables, name)(*arguments)

        return call


@pytest.fixture
async def tables() -> Counting:
    made = MemoryTables()
    instances = [images.instance(f"1.3.{n}", "1.2.1", "1.2", number=n) for n in range(20)]
    await images.put(made, images.study("1.2"), images.series("1.2.1", "1.2"), *instances)
    return Counting(made)


async def test_a_series_that_is_read_through_is_looked_up_in_a_few_questions(tables: Counting) -> None:
    found = Lookups(ImageIndex(tables))
    uids = [(await found.instance("1.2", "1.2.1", f"1.3.{n}")).uid for n in range(20)]  # type: ignore[union-attr]
    assert uids == [f"1.3.{n}" for n in range(20)]
    assert tables.asked == 3
    assert await found.instance("1.2", "1.2.1", "1.9") is None


async def test_after_a_moment_or_when_told_it_looks_again(tables: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Lookups(ImageIndex(tables))
    await found.study("1.2")
    assert found.remembered("1.2") is not None
    found.forget()
    assert found.remembered("1.2") is None
    monkeypatch.setattr(lookups, "_SECONDS", 0.0)
    await found.study("1.2")
    assert found.remembered("1.2") is None


async def test_no_more_than_so_many_instances_are_remembered(tables: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_MOST_INSTANCES", 10)
    found = Lookups(ImageIndex(tables))
    for n in range(10):
        assert (await found.instance("1.2", "1.2.1", f"1.3.{n}")) is not None
    assert tables.asked > 5
