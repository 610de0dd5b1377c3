"""The native predicates say what the published FHIRPath expressions say."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from fhir_server import fhirpath
from fhir_server.core import json
from fhir_server.definitions.model import Constraint, Definitions
from fhir_server.validation.rules import NATIVE_KEYS, Rules
from tests.data import test_data

#: Where the engine answers something and we deliberately differ.
BY_PURPOSE = {
    "bdl-3",  # the engine's %resource.type is empty in a Bundle without type, which is an error of its own
    "bdl-4",
}


def parts(definitions: Definitions, node: Any, structure: str, path: str, resource: Any, root: Any) -> Iterator[Any]:
    """Yield (element, type or path, resource, root) of every element that has members."""
    if not isinstance(node, dict):
        return
    yield node, path, resource, root
    for element in definitions.structures[structure].children[path]:
        for name, type_ in element.json_names():
            value = node.get(name)
            for item in value if isinstance(value, list) else [value]:
                target = definitions.structures.get(type_.code)
                if element.children:
                    yield from parts(definitions, item, structure, element.children, resource, root)
                elif type_.code == "Resource" and isinstance(item, dict):
                    inner = item.get("resourceType", "")
                    outer = root if element.name == "contained" else item
                    if inner in definitions.structures:
                        yield from parts(definitions, item, inner, inner, item, outer)
                elif target is not None and target.kind == "complex-type":
                    yield from parts(definitions, item, type_.code, type_.code, resource, root)


def constraints_by_path(definitions: Definitions) -> dict[str, dict[str, Constraint]]:
    found: dict[str, dict[str, Constraint]] = {}
    for structure in definitions.structures.values():
        found.setdefault(structure.name, {}).update({c.key: c for c in structure.constraints})
        for elements in structure.children.values():
            for element in elements:
                if element.children:
                    found.setdefault(element.children, {}).update({c.key: c for c in element.constraints})
    return found


def thinned(node: Any, chance: random.Random) -> Any:
    """Return a copy without some of its members."""
    if isinstance(node, dict):
        return {
            name: thinned(value, chance)
            for name, value in node.items()
            if name == "resourceType" or chance.random() > 0.12
        }
    return [thinned(item, chance) for item in node] if isinstance(node, list) else copy.copy(node)


def test_native_predicates_agree_with_the_published_expressions(definitions: Definitions) -> None:
    model = fhirpath.Model(definitions)
    rules = Rules(definitions)
    native = {
        path: [
            (key, rules.of(path, [constraint], ()), fhirpath.compile(constraint.expression, model))
            for key, constraint in constraints.items()
            if key in NATIVE_KEYS
        ]
        for path, constraints in constraints_by_path(definitions).items()
    }
    chance = random.Random(7)
    compared = 0
    for file in sorted(test_data("fhir/examples").glob("*/*.json")):
        if file.stat().st_size > 20_000:
            continue
        tree = json.decode(file.read_bytes())
        for variant in (tree, thinned(tree, chance), thinned(tree, chance)):
            name = variant["resourceType"]
            for node, path, resource, root in parts(definitions, variant, name, name, variant, variant):
                for key, (rule,), expression in native.get(path, ()):
                    try:
                        expected = expression.test(node, resource, root, path)
                    except fhirpath.FhirPathError:
                        continue
                    if expected is not None and key not in BY_PURPOSE:
                        compared += 1
                        assert rule.is_broken_by(node, resource, root) is not expected, (key, file.name)
    assert compared > 3000


def test_every_error_invariant_of_base_r4_can_be_evaluated(definitions: Definitions) -> None:
    rules = Rules(definitions)
    missing = set()
    for path, constraints in constraints_by_path(definitions).items():
        structure = definitions.structures.get(path.partition(".")[0])
        if structure is None or structure.kind == "primitive-type":
            continue
        for constraint in constraints.values():
            if constraint.severity == "error" and not rules.of(path, [constraint], structure.children.get(path, ())):
                missing.add(constraint.key)
    assert missing == {"ele-1", "ref-1", "ctm-1"}  # the first two by structure; ctm-1 needs other resources


@pytest.mark.parametrize(
    ("path", "key", "members"),
    [
        ("Patient.contact", "pat-1", None),
        ("Observation", "obs-7", {"component"}),
        ("Questionnaire.item", "que-11", {"answerOption", "initial"}),
    ],
)
def test_a_rule_is_only_asked_where_it_can_be_broken(
    definitions: Definitions, path: str, key: str, members: set[str] | None
) -> None:
    constraint = constraints_by_path(definitions)[path][key]
    structure = definitions.structures[path.partition(".")[0]]
    (rule,) = Rules(definitions).of(path, [constraint], structure.children[path])
    assert rule.triggers == members
