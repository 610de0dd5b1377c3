"""A study's attributes do not depend on the order in which its objects come."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.dicom.archive.growth import merge
from tests.unit.dicom.images import element

VALUES = st.sampled_from([element("LO", "a"), element("LO", "b"), {"vr": "LO"}])
OBJECTS = st.dictionaries(st.sampled_from("123456"), st.dictionaries(st.sampled_from("xyz"), VALUES), min_size=1)


def merged(objects: list[tuple[str, dict[str, Any]]]) -> Any:
    attributes, lead, origins = {}, "", {}  # type: ignore[var-annotated]
    for uid, said in objects:
        attributes, lead, origins = merge(attributes, lead, origins, uid, said)
    return attributes, lead, origins


@given(OBJECTS, st.randoms(use_true_random=False))
def test_any_order_gives_the_same(objects: dict[str, Any], random: Any) -> None:
    given_order = list(objects.items())
    other = given_order[:]
    random.shuffle(other)
    assert merged(given_order) == merged(other)


@given(OBJECTS)
def test_what_any_object_has_a_value_for_has_one(objects: dict[str, Any]) -> None:
    attributes, lead, _ = merged(list(objects.items()))
    assert lead == min(objects)
    for tag in "xyz":
        valued = sorted(uid for uid, said in objects.items() if "Value" in said.get(tag, {}))
        if valued:
            assert attributes[tag] == objects[valued[0]][tag]
