"""A resource is spelt once, whatever version it is compared with or becomes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.core import json
from fhir_server.core.query import Key, Stored
from fhir_server.interactions.stamp import Spelling, instant, stamp
from fhir_server.interactions.writing import unchanged

_VALUES = st.one_of(st.text(), st.booleans(), st.integers(), st.dictionaries(st.text(), st.text(), max_size=2))
_META = st.one_of(
    st.none(),
    st.dictionaries(st.sampled_from(("versionId", "lastUpdated", "profile", "tag")), st.text(), max_size=4),
)


@given(
    members=st.dictionaries(st.text(), _VALUES, max_size=4),
    meta=_META,
    order=st.permutations(("id", "meta", "resourceType", "rest")),
)
def test_what_is_spelt_is_what_is_stamped(members: dict[str, Any], meta: Any, order: list[str]) -> None:
    tree: dict[str, Any] = {}
    for name in order:
        match name:
            case "rest":
                tree |= {name: value for name, value in members.items() if name not in ("id", "meta", "resourceType")}
            case "meta":
                tree |= {} if meta is None else {"meta": meta}
            case "id":
                tree["id"] = "old"
            case _:
                tree["resourceType"] = "Patient"
    time = instant(1_700_000_000_001)
    assert Spelling(tree).at("a.b-1", 7, time) == json.encode(stamp(tree, "a.b-1", 7, time))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"meta": {"versionId": "3", "profile": ["urn:p"]}}, True),
        ({"meta": {}}, False),
        ({"active": False}, False),
        ({"name": [{"text": "x"}]}, False),
    ],
)
def test_only_content_decides_whether_anything_changes(change: dict[str, Any], same: bool) -> None:
    tree = {"resourceType": "Patient", "id": "1", "meta": {"profile": ["urn:p"]}, "active": True}
    content = json.encode(stamp(tree, "1", 2, instant(5)))
    stored = Stored(Key("Patient", "1"), 2, 5, content, "PUT")
    assert unchanged(Spelling({**tree, **change}), stored) is same
