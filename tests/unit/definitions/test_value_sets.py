"""Value sets expand completely or not at all."""

from typing import Any

import msgspec
import pytest

from fhir_server.definitions.published import CodeSystem, ValueSet
from fhir_server.definitions.value_sets import expand_all

SYSTEM = "http://example.org/animals"
ANIMALS = {
    "url": SYSTEM,
    "content": "complete",
    "concept": [
        {"code": "bird", "concept": [{"code": "duck", "property": [{"code": "swims", "valueBoolean": True}]}]},
        {"code": "fish", "property": [{"code": "swims", "valueBoolean": True}]},
        {"code": "penguin", "property": [{"code": "parent", "valueCode": "bird"}]},
    ],
}


def expand(include: list[Any], exclude: list[Any] | None = None, **others: list[Any]) -> set[str] | None:
    sets = {"main": {"include": include, "exclude": exclude or []}, **{k: {"include": v} for k, v in others.items()}}
    value_sets = {name: msgspec.convert({"url": name, "compose": compose}, ValueSet) for name, compose in sets.items()}
    expanded = expand_all(["main"], value_sets, {SYSTEM: msgspec.convert(ANIMALS, CodeSystem)})
    return set(expanded["main"][SYSTEM]) if expanded else None


def filtered(property_: str, op: str, value: str) -> list[Any]:
    return [{"system": SYSTEM, "filter": [{"property": property_, "op": op, "value": value}]}]


@pytest.mark.parametrize(
    ("include", "codes"),
    [
        ([{"system": SYSTEM}], {"bird", "duck", "fish", "penguin"}),
        ([{"system": SYSTEM, "concept": [{"code": "cow"}]}], {"cow"}),
        (filtered("concept", "is-a", "bird"), {"bird", "duck", "penguin"}),
        (filtered("concept", "descendent-of", "bird"), {"duck", "penguin"}),
        (filtered("concept", "is-not-a", "bird"), {"fish"}),
        (filtered("code", "in", "duck, fish"), {"duck", "fish"}),
        (filtered("swims", "=", "true"), {"duck", "fish"}),
        (filtered("parent", "=", "bird"), {"duck", "penguin"}),
        (filtered("concept", "is-a", "cow"), None),
        (filtered("code", "regex", "d.*"), None),
        (filtered("flies", "=", "true"), None),
        ([{"system": "http://elsewhere"}], None),
        ([{"valueSet": ["nowhere"]}], None),
        ([{"valueSet": ["main"]}], None),
    ],
)
def test_an_include_selects(include: list[Any], codes: set[str] | None) -> None:
    assert expand(include) == codes


def test_an_exclude_takes_away() -> None:
    assert expand([{"system": SYSTEM}], filtered("concept", "is-a", "bird")) == {"fish"}


def test_an_import_narrows_a_system_and_imports_narrow_each_other() -> None:
    birds, swimmers = filtered("concept", "is-a", "bird"), filtered("swims", "=", "true")
    assert expand([{"valueSet": ["birds|1.0"]}], birds=birds) == {"bird", "duck", "penguin"}
    assert expand([{"valueSet": ["birds", "swimmers"]}], birds=birds, swimmers=swimmers) == {"duck"}
    assert expand([{"system": SYSTEM, "valueSet": ["swimmers"]}], swimmers=swimmers) == {"duck", "fish"}
