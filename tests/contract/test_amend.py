"""Labels changed in place: one version's content and index, and nothing else."""

import pytest

from fhir_server.core.change import ChangeSet, Write
from fhir_server.core.ports import ResourceStore
from fhir_server.core.query import AnyTerm, Index, Key, Query

KEY = Key("Patient", "p")


def term(name: str) -> Index:
    return Index(terms=(f"Patient._tag={name}",), values={"_tag": (name,)}, present=("_tag",))


@pytest.fixture
async def two_versions(store: ResourceStore) -> ResourceStore:
    for version, content in ((1, b'{"v":1}'), (2, b'{"v":2}')):
        await store.commit(ChangeSet((Write(KEY, version, content, term("old"), "PUT"),), version))
    return store


async def test_the_current_version_gets_new_content_and_index(two_versions: ResourceStore) -> None:
    assert await two_versions.amend(KEY, 2, b'{"v":2}', b'{"v":2,"x":1}', term("new"), 1)
    found = (await two_versions.get((KEY,)))[KEY]
    assert (found.version, found.updated, found.content) == (2, 2, b'{"v":2,"x":1}')
    assert [
        row.key for row in (await two_versions.search(Query(("Patient",), AnyTerm(("Patient._tag=new",))))).rows
    ] == [KEY]
    assert (await two_versions.search(Query(("Patient",), AnyTerm(("Patient._tag=old",))))).rows == ()
    assert (await two_versions.get_version(KEY, 1)).content == b'{"v":1}'  # type: ignore[union-attr]  # it is there


async def test_a_past_version_gets_new_content_and_the_index_stays(two_versions: ResourceStore) -> None:
    assert await two_versions.amend(KEY, 1, b'{"v":1}', b'{"v":1,"x":1}', term("new"), 1)
    assert (await two_versions.get_version(KEY, 1)).content == b'{"v":1,"x":1}'  # type: ignore[union-attr]  # it is there
    assert (await two_versions.get((KEY,)))[KEY].content == b'{"v":2}'
    assert len((await two_versions.search(Query(("Patient",), AnyTerm(("Patient._tag=old",))))).rows) == 1


@pytest.mark.parametrize(("version", "before"), [(2, b"other"), (1, b'{"v":2}'), (3, b'{"v":2}')])
async def test_what_has_changed_meanwhile_is_left_alone(
    two_versions: ResourceStore, version: int, before: bytes
) -> None:
    assert not await two_versions.amend(KEY, version, before, b"{}", term("new"), 1)
    assert (await two_versions.get((KEY,)))[KEY].content == b'{"v":2}'
