"""Conversions in Python, for what rows cannot say. Each module names its own in ``CONVERSIONS``.

A conversion is ``convert(value, scope)``: ``value`` is the repetition, component or subcomponent of the row's ``at``
(None where ``at`` is empty: the conversion looks at the whole segment or group through ``scope``). It returns what
stands at the row's ``to``: an element, a list of elements, a primitive, or None for nothing. It marks what it used
(``value.take``, ``scope.consume``) and reports what it cannot convert (``scope.problem``). As a term of a key
(``{name}``) it returns a text.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.scope import Scope
    from adapters.hl7v2.mapping.values import Value

Convert = Callable[["Value | None", "Scope"], Any]  # FHIR elements as decoded JSON


def registered() -> Mapping[str, Convert]:
    """Return all conversions by name."""
    from adapters.hl7v2.mapping.conversions import (  # here: the modules need Convert
        administration,
        allergy,
        basic_data,
        contexts,
        diagnosis,
        documents,
        exam_reports,
        filed_documents,
        general,
        imaging,
        injection,
        insurance,
        japanese_names,
        laboratory,
        meals,
        microbiology,
        names,
        order_context,
        order_fields,
        orders,
        places,
        prescription,
        result_values,
        results,
        stay,
    )

    modules = (
        administration,
        allergy,
        basic_data,
        contexts,
        diagnosis,
        documents,
        exam_reports,
        filed_documents,
        general,
        imaging,
        injection,
        insurance,
        japanese_names,
        laboratory,
        meals,
        microbiology,
        names,
        order_context,
        order_fields,
        orders,
        places,
        prescription,
        result_values,
        results,
        stay,
    )
    found: dict[str, Convert] = {}
    for module in modules:
        for name, convert in module.CONVERSIONS.items():
            if name in found:
                raise ValueError(f"two conversions are named {name}")
            found[name] = convert
    return found
