"""Compartments by the references that link resources in (FHIR R4 compartmentdefinition.html)."""

from fhir_server.core.outcome import bad_request
from fhir_server.core.query import AnyTerm, Key, KeyIn, Node, any_of
from fhir_server.search.parameters import SearchRegistry


def compartment_types(registry: SearchRegistry, compartment: str) -> tuple[str, ...]:
    """Return the resource types that can be in compartments of this kind."""
    definition = registry.definitions.compartments.get(compartment)
    if definition is None:
        known = ", ".join(sorted(registry.definitions.compartments))
        raise bad_request(f"{compartment} is not a compartment (compartments: {known})", "not-supported")
    return tuple(
        resource_type
        for resource_type in registry.types
        if definition.members.get(resource_type) or resource_type == compartment
    )


def in_compartment(
    registry: SearchRegistry, compartment: str, id_: str, types: tuple[str, ...] = (), *, itself: bool = True
) -> Node:
    """Return the node for resources of these types (all possible ones, if empty) in one compartment.

    Without ``itself`` the resource that the compartment is of may be missing, so that one list of terms is enough.
    """
    possible = compartment_types(registry, compartment)
    outside = [resource_type for resource_type in types if resource_type not in possible]
    if outside:
        raise bad_request(f"{outside[0]} is never in the {compartment} compartment", "not-supported")
    wanted = types or possible
    reference = f"{compartment}/{id_}"
    terms = AnyTerm(
        tuple(f"{key}={reference}" for resource_type in wanted for key in registry.links(resource_type, compartment))
    )
    if itself and compartment in wanted:
        own = KeyIn((Key(compartment, id_),))
        return any_of(terms, own) if terms.terms else own
    return terms
