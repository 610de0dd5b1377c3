"""What tables of rows promise, alone and committed together with resources."""

import asyncio

import pytest

from fhir_server.core.change import ChangeSet, VersionConflict, Write
from fhir_server.core.ports import ResourceStore
from fhir_server.core.query import Index, Key
from fhir_server.core.tables import (
    AllOf,
    AnyOf,
    Between,
    Condition,
    In,
    Like,
    Missing,
    Row,
    RowConflict,
    RowQuery,
    RowWrite,
    TableLayout,
    Tables,
    Value,
)

TABLE = "test.film"
LAYOUT = TableLayout(TABLE, (("patient", "-date"), ("modality", "date"), ("name",)))
P1 = Key("Patient", "1")


def row(id_: str, revision: int = 1, content: bytes | None = b"x", **fields: Value | tuple[Value, ...]) -> RowWrite:
    return RowWrite(table=TABLE, id=id_, revision=revision, content=content, fields=fields)


def patient(version: int = 1) -> Write:
    return Write(P1, version, b"{}", Index(), "PUT")


async def found(tables: Tables, *where: Condition, **more: int | tuple[tuple[str, bool], ...]) -> str:
    query = RowQuery(table=TABLE, where=where, **more)  # type: ignore[arg-type]  # offset, limit and order
    return " ".join(row.id for row in await tables.find(query))


@pytest.fixture
async def films(tables: Tables) -> Tables:
    await tables.prepare((LAYOUT,))
    await tables.write((
        row("a", patient="1", date=20240101, name="yamada taro", modality=("CT", "SR")),
        row("b", patient="1", date=20250101, name="yamada^hanako", modality="MR"),
        row("c", patient="2", date=20230101, name="suzuki.", modality=("CT", "MR"), many=(10, 30)),
        row("d", name="a(b", modality=()),
    ))  # fmt: skip
    return tables


async def test_a_row_is_read_back_as_it_was_written(films: Tables) -> None:
    await films.write((row("e", content=b"\x00\xff"),))
    await films.write((row("e", 2, b"\x01"),))
    assert await films.get(TABLE, ("e", "none")) == {"e": Row(TABLE, "e", 2, b"\x01")}
    assert await films.get(TABLE, ()) == {}


async def test_preparing_again_changes_nothing(films: Tables) -> None:
    await films.prepare((LAYOUT,))
    assert await films.count(RowQuery(table=TABLE)) == 4


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ((), "a b c d"),
        ((In("patient", ("1",)),), "a b"),
        ((In("patient", ("1", "2")), In("modality", ("CT",))), "a c"),
        ((In("patient", ()),), ""),
        ((Between("date", 20240101, 20250101),), "a b"),
        ((Between("date", high=20240101),), "a c"),
        ((Between("date"),), "a b c"),
        ((Between("date", "0", "9"),), ""),
        ((Between("many", 15, 20),), ""),
        ((Between("many", 25, 35),), "c"),
        ((Between("name", "s", "y"),), "c"),
        ((Like("name", "yamada*"),), "a b"),
        ((Like("name", "yamada?*o"),), "a b"),
        ((Like("name", "*tar?"),), "a"),
        ((Like("name", "suzuki."),), "c"),
        ((Like("name", "suzuk?"),), ""),
        ((Like("name", "*("),), ""),
        ((Like("name", "a(*"),), "d"),
        ((Like("name", "yamada^*"),), "b"),
        ((Like("date", "2*"),), ""),
        ((Like("modality", "C*"), Like("modality", "M*")), "c"),
        ((AnyOf((In("patient", ("2",)), Like("name", "*hanako"))),), "b c"),
        ((AnyOf(()),), ""),
        ((AnyOf((AllOf((In("patient", ("1",)), Like("name", "*taro"))), AllOf((In("patient", ("2",)),)))),), "a c"),
        ((AllOf(()),), "a b c d"),
        ((Missing("patient"),), "d"),
        ((Missing("modality"),), "d"),
        ((AnyOf((Missing("many"), In("patient", ("2",)))), Missing("none")), "a b c d"),
        ((AnyOf((Between("many", 15, 20), In("patient", ("2",)))),), "c"),
    ],
)
async def test_rows_are_found_by_their_fields(films: Tables, where: tuple[Condition, ...], ids: str) -> None:
    assert await found(films, *where) == ids
    assert await films.count(RowQuery(table=TABLE, where=where, offset=1, limit=1)) == len(ids.split())


async def test_rows_are_in_order_and_ties_by_id(films: Tables) -> None:
    await films.write((row("0", date=20240101),))
    assert await found(films, order=(("date", False),)) == "d c 0 a b"
    assert await found(films, order=(("date", True),)) == "b 0 a c d"
    assert await found(films, order=(("patient", True), ("date", False))) == "c a b d 0"


async def test_pages_are_cut_from_the_whole_order(films: Tables) -> None:
    order = (("date", True),)
    pages = [await found(films, order=order, offset=offset, limit=2) for offset in (0, 2, 4)]
    assert pages == ["b a", "c d", ""]
    assert await found(films, limit=0) == ""


async def test_a_replaced_row_is_found_by_its_new_fields_only(films: Tables) -> None:
    await films.write((row("a", 2, patient="3"),))
    assert await found(films, In("patient", ("1",))) == "b"
    assert await found(films, In("patient", ("3",))) == "a"


async def test_a_deleted_row_is_gone_and_can_be_made_again(films: Tables) -> None:
    await films.write((row("a", 2, None), row("b", 2, None)))
    assert await found(films) == "c d"
    await films.write((row("a"),))
    assert await found(films) == "a c d"


@pytest.mark.parametrize(
    ("stale", "others"),
    [
        (row("a"), ()),
        (row("a"), (row("new"),)),
        (row("a", 3), ()),
        (row("a", 3), (row("b", 2), row("new"))),
        (row("none", 2), (row("new"),)),
        (row("a", 3, None), (row("b", 2, None),)),
        (row("none", 2, None), ()),
    ],
    ids=["made-twice", "made-twice-in-many", "old", "old-in-many", "missing", "deleted-old", "deleted-missing"],
)
async def test_one_stale_row_undoes_everything(films: Tables, stale: RowWrite, others: tuple[RowWrite, ...]) -> None:
    with pytest.raises(RowConflict) as conflict:
        await films.write((*others, stale))
    assert conflict.value.rows == ((TABLE, stale.id),)
    assert await found(films) == "a b c d"
    assert {row.revision for row in (await films.get(TABLE, ("a", "b"))).values()} == {1}


@pytest.mark.parametrize(
    "rows", [(row("e"), row("e", 2)), (row("e", 0),), (row("e", 1, None),)], ids=["twice", "zero", "never-was"]
)
async def test_what_no_table_can_take_is_refused(films: Tables, rows: tuple[RowWrite, ...]) -> None:
    with pytest.raises(ValueError, match=r"row|revision"):
        await films.write(rows)


async def test_of_two_writers_of_one_revision_one_is_told(films: Tables) -> None:
    writes = [films.write((row("a", 2, b"%d" % number), row(f"n{number}"))) for number in range(4)]
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(answer, RowConflict) for answer in answers) == 3
    assert (await films.get(TABLE, ("a",)))["a"].revision == 2
    assert len((await found(films)).split()) == 5


async def test_rows_and_resources_are_committed_together(store: ResourceStore, films: Tables) -> None:
    await store.commit(ChangeSet((patient(),), 1, (), (row("e"), row("a", 2, b"y"))))
    assert P1 in await store.get((P1,))
    assert (await films.get(TABLE, ("a",)))["a"].content == b"y"
    assert await found(films) == "a b c d e"


async def test_rows_are_committed_without_resources(store: ResourceStore, films: Tables) -> None:
    await store.commit(ChangeSet((), 1, (), (row("e"),)))
    assert await found(films) == "a b c d e"


async def test_a_stale_row_leaves_the_resource_unwritten(store: ResourceStore, films: Tables) -> None:
    for stale in (row("a"), row("a", 3)):
        with pytest.raises(RowConflict):
            await store.commit(ChangeSet((patient(),), 1, (), (row("e"), stale)))
    assert P1 not in await store.get((P1,))
    assert await found(films) == "a b c d"


async def test_a_stale_resource_leaves_the_row_unwritten(store: ResourceStore, films: Tables) -> None:
    with pytest.raises(VersionConflict):
        await store.commit(ChangeSet((patient(3),), 1, (), (row("e"),)))
    await store.commit(ChangeSet((patient(),), 1))
    with pytest.raises(VersionConflict):
        await store.commit(ChangeSet((patient(),), 1, (), (row("e"),)))
    assert await found(films) == "a b c d"
