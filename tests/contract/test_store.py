"""What every resource store promises."""

import asyncio

import pytest

from fhir_server.core.change import ChangeSet, Claim, ClaimConflict, VersionConflict, Write
from fhir_server.core.ports import ResourceStore
from fhir_server.core.query import AnyTerm, HistoryQuery, Index, Key, KeyIn, Query, Refers, SortKey, Stored

P1, P2, O1 = Key("Patient", "1"), Key("Patient", "2"), Key("Observation", "1")
NAMED = Index(terms=("Patient.name=x",), values={"name": ("x",)}, present=("name",))
MATCHES_NAME = Query(("Patient",), AnyTerm(("Patient.name=x",)))


def write(key: Key, version: int, content: bytes | None = b"{}", index: Index = NAMED) -> Write:
    deleted = content is None
    return Write(key, version, content, None if deleted else index, "DELETE" if deleted else "PUT")


async def commit(store: ResourceStore, *writes: Write, at: int = 1) -> None:
    await store.commit(ChangeSet(writes, at))


async def test_what_was_committed_is_read_back_byte_for_byte(store: ResourceStore) -> None:
    content = '{"resourceType":"Patient","id":"1","x":1.50,"n":"山田"}'.encode()
    await commit(store, write(P1, 1, content), at=7)
    assert await store.get((P1, P2)) == {P1: Stored(P1, 1, 7, content, "PUT", {"name": ["x"]})} or (
        (await store.get((P1,)))[P1].content == content
    )


async def test_creating_what_exists_is_a_conflict_and_changes_nothing(store: ResourceStore) -> None:
    await commit(store, write(P1, 1, b'{"a":1}'))
    with pytest.raises(VersionConflict) as conflict:
        await commit(store, write(P1, 1, b'{"a":2}'))
    assert conflict.value.keys == (P1,)
    assert (await store.get((P1,)))[P1].content == b'{"a":1}'


async def test_updating_an_old_version_is_a_conflict(store: ResourceStore) -> None:
    await commit(store, write(P1, 1))
    await commit(store, write(P1, 2))
    with pytest.raises(VersionConflict):
        await commit(store, write(P1, 2))


async def test_updating_what_does_not_exist_is_a_conflict(store: ResourceStore) -> None:
    with pytest.raises(VersionConflict):
        await commit(store, write(P1, 2))


async def test_one_conflict_undoes_the_whole_change(store: ResourceStore) -> None:
    await commit(store, write(P1, 1))
    with pytest.raises(VersionConflict):
        await commit(store, write(P2, 1), write(P1, 1))
    with pytest.raises(VersionConflict):
        await commit(store, write(P2, 1), write(P1, 3))
    assert P2 not in await store.get((P1, P2))
    assert await store.count_history(HistoryQuery()) == 1


async def test_writing_a_resource_twice_in_one_change_is_refused(store: ResourceStore) -> None:
    with pytest.raises(ValueError):
        await commit(store, write(P1, 1), write(P1, 2))


async def test_a_deleted_resource_is_known_but_not_found(store: ResourceStore) -> None:
    await commit(store, write(P1, 1))
    await commit(store, write(P1, 2, None))
    found = (await store.get((P1,)))[P1]
    assert (found.version, found.content, found.method) == (2, None, "DELETE")
    assert await store.count(MATCHES_NAME) == 0
    assert (await store.search(Query((), KeyIn((P1,))))).rows == ()


async def test_a_deleted_resource_is_seen_by_those_who_saw_its_last_content(store: ResourceStore) -> None:
    await commit(store, write(P1, 1))
    await commit(store, write(P1, 2, None))
    assert P1 in await store.get((P1,), AnyTerm(("Patient.name=x",)))
    assert P1 not in await store.get((P1,), AnyTerm(("Patient.name=y",)))


async def test_recreation_continues_the_history(store: ResourceStore) -> None:
    for version, content in ((1, b"{}"), (2, None), (3, b'{"again":1}')):
        await commit(store, write(P1, version, content), at=version)
    rows = (await store.history(HistoryQuery("Patient", "1"))).rows
    assert [(row.version, row.content) for row in rows] == [(3, b'{"again":1}'), (2, None), (1, b"{}")]
    assert await store.count(MATCHES_NAME) == 1


async def test_any_version_can_be_read_while_the_resource_is_visible(store: ResourceStore) -> None:
    await commit(store, write(P1, 1, b'{"v":1}'))
    await commit(store, write(P1, 2, b'{"v":2}'))
    assert [getattr(await store.get_version(P1, number), "content", None) for number in (1, 2, 3)] == [
        b'{"v":1}',
        b'{"v":2}',
        None,
    ]
    assert await store.get_version(P1, 1, AnyTerm(("Patient.name=y",))) is None


async def test_a_claim_with_a_match_is_a_conflict_and_changes_nothing(store: ResourceStore) -> None:
    await commit(store, write(P1, 1))
    with pytest.raises(ClaimConflict) as conflict:
        await store.commit(ChangeSet((write(P2, 1),), 1, (Claim("name=x", MATCHES_NAME),)))
    assert conflict.value.conditions == ("name=x",)
    assert P2 not in await store.get((P2,))


async def test_claims_that_match_nothing_pass(store: ResourceStore) -> None:
    claims = tuple(Claim(f"name={n}", Query(("Patient",), AnyTerm((f"Patient.name={n}",)))) for n in range(90))
    await store.commit(ChangeSet((write(P1, 1),), 1, claims))
    assert P1 in await store.get((P1,))


async def test_of_200_creates_on_one_condition_exactly_one_is_made(store: ResourceStore) -> None:
    claim = Claim("name=x", MATCHES_NAME)

    async def create(number: int) -> bool:
        try:
            await store.commit(ChangeSet((write(Key("Patient", f"p{number}"), 1),), 1, (claim,)))
        except ClaimConflict:
            return False
        return True

    assert sum(await asyncio.gather(*map(create, range(200)))) == 1
    assert await store.count(MATCHES_NAME) == 1


async def test_of_50_writers_of_one_version_exactly_one_wins(store: ResourceStore) -> None:
    await commit(store, write(P1, 1))

    async def update(number: int) -> bool:
        try:
            await commit(store, write(P1, 2, b"%d" % number))
        except VersionConflict:
            return False
        return True

    assert sum(await asyncio.gather(*map(update, range(50)))) == 1


async def test_many_creates_at_once_each_learn_their_own_fate(store: ResourceStore) -> None:
    await commit(store, write(Key("Patient", "5"), 1))
    fates = await asyncio.gather(
        *(commit(store, write(Key("Patient", str(number)), 1)) for number in range(40)), return_exceptions=True
    )
    assert [number for number, fate in enumerate(fates) if fate is not None] == [5]
    assert await store.count(MATCHES_NAME) == 40


async def test_a_made_up_page_position_is_refused(store: ResourceStore) -> None:
    for number in range(3):
        await commit(store, write(Key("Patient", str(number)), 1))
    page = await store.search(Query(("Patient",), count=1))
    assert page.next is not None
    for forged in (b"", b"x", b"\x00" * 40, page.next[:-1] + b"\xff", page.next + b"!"):
        with pytest.raises(ValueError):
            await store.search(Query(("Patient",), count=1, after=forged))


@pytest.mark.parametrize("sort", [(), (SortKey("updated"),), (SortKey("id"),), (SortKey("value", "name"),)])
async def test_pages_lose_and_repeat_nothing_while_others_write(
    store: ResourceStore, sort: tuple[SortKey, ...]
) -> None:
    for number in range(20):
        await commit(store, write(Key("Patient", f"{number:02}"), 1), at=number)
    seen: list[str] = []
    after = None
    while True:
        page = await store.search(Query(("Patient",), sort=sort, count=3, after=after))
        assert page.complete
        seen += [row.key.id for row in page.rows]
        if (after := page.next) is None:
            break
        last = Key("Patient", seen[-1])
        await commit(store, write(last, (await store.get((last,)))[last].version + 1), at=50 + len(seen))
        await commit(store, write(Key("Patient", f"new{len(seen)}"), 1), at=50 + len(seen))
    assert sorted(seen) == [f"{number:02}" for number in range(20)]


async def test_a_chain_sees_only_what_the_reader_may_see(store: ResourceStore) -> None:
    subject = Index(terms=("Observation.subject=Patient/1",), values={"subject": ("Patient/1",)}, present=("subject",))
    await commit(store, write(P1, 1), write(O1, 1, b"{}", subject))
    chain = Refers("Observation", "subject", ("Patient",), AnyTerm(("Patient.name=x",)))
    assert await store.count(Query(("Observation",), chain)) == 1
    assert await store.count(Query(("Observation",), chain, KeyIn((O1,)))) == 0
    assert await store.count(Query(("Observation",), chain, KeyIn((O1, P1)))) == 1


async def test_an_index_is_replaced_only_while_its_version_is_current(store: ResourceStore) -> None:
    await commit(store, write(P1, 1))
    other = Index(terms=("Patient.name=y",), date=3)
    assert await store.replace_index(P1, 1, other, 4)
    assert not await store.replace_index(P1, 2, other, 4)
    assert await store.count(MATCHES_NAME) == 0
    assert await store.count(Query(("Patient",), AnyTerm(("Patient.name=y",)))) == 1
    [(row, index, generation)] = [found async for found in store.scan()]
    assert (row.key, generation) == (P1, 4)
    assert index == store.stored_form(other)


async def test_a_scan_yields_what_is_there_with_its_index(store: ResourceStore) -> None:
    index = Index(
        terms=("Patient.a=b", "Patient.a=c"),
        ranges=(("Patient.d", 1, 2, ("kg",)), ("Patient.d", 0.5, float("inf"), ())),
        texts=(("Patient.name", "a", "A"), ("Patient.code:text", "b", "B")),
        values={"a": ("b", "c"), "x.y": ("1",)},
        present=("a", "x.y", "d"),
        date=-5,
    )
    await commit(store, write(P1, 1, b"{}", index), write(P2, 1), write(O1, 1))
    await commit(store, write(P2, 2, None))
    found = {row.key: stored async for row, stored, _ in store.scan(("Patient",))}
    assert found == {P1: store.stored_form(index)}
