"""Search parameters of every resource type, compiled on first use (FHIR R4 searchparameter.html)."""

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

import msgspec

from fhir_server.core.ports import UnitConverter
from fhir_server.definitions.model import Definitions, SearchComponent, SearchParameter
from fhir_server.fhirpath import select
from fhir_server.fhirpath.errors import FhirPathError
from fhir_server.search.derived import STANDARD, derive
from fhir_server.search.elements import RESOLVES_TO, alternatives, single_form
from fhir_server.search.types import BY_CODE
from fhir_server.search.types.composite import COMPOSITE, Part, unsupported
from fhir_server.search.types.contract import Setting, SingleForm

#: Codes of the date parameter that says when something happened to the patient, best first.
CLINICAL_DATES = (
    "authoredon", "authored-on", "authored", "date", "onset-date", "effective-time", "effective", "performed",
    "occurrence", "started", "period", "service-period", "whenhandedover", "whenprepared", "datewritten", "datetime",
    "issued", "sent", "recorded-date", "recorded", "created", "start", "study-period", "received", "collected",
)  # fmt: skip
_CLINICAL = frozenset(CLINICAL_DATES)
_NOT_CLINICAL = frozenset(("CodeSystem", "ValueSet", "ConceptMap", "StructureDefinition", "SearchParameter"))
#: Parameters that are asked for by the server's own rules, not by extracted values.
_OWN_RULES = frozenset(("_id", "_lastUpdated", "_text", "_content", "_filter", "_query", "_list", "_type", "_has"))
#: Of several codes for the same, these keep the entries: other rooms and the pair of patient and code name them.
_FIRST = ("code", "url", "subject", "name")


class Parameter(msgspec.Struct, frozen=True):
    """A search parameter of one resource type. ``key`` is ``Type.code``; ``type`` its FHIR search type code.

    ``parts`` are the components of a composite. ``targets`` are resource types a reference may point at.
    ``refusal`` says why the parameter cannot be searched, "" if it can. ``stored`` are the codes of the parameters of
    the type under which its entries are found: its own, or those it is derived from; with ``only`` just the
    references to that type are. ``single``: how tokens of a single form are asked for.
    """

    resource_type: str
    code: str
    type: str
    key: str
    definition: SearchParameter
    targets: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    refusal: str = ""
    stored: tuple[str, ...] = ()
    only: str = ""
    single: SingleForm | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys (``Type.code``) under which its entries are found."""
        return tuple(f"{self.resource_type}.{code}" for code in self.stored)

    @property
    def derived(self) -> bool:
        """True if it has no entries of its own (but for odd references to the type ``only``)."""
        return self.stored != (self.code,)


class SearchRegistry:
    """Everything the search room knows about the loaded definitions; a value, but for what it compiles on demand."""

    def __init__(self, definitions: Definitions, setting: Setting) -> None:
        self.definitions = definitions
        self.setting = setting
        self.types = definitions.resource_types()
        self._known_types = frozenset(self.types)
        self._by_url = {parameter.url: parameter for parameter in definitions.search_parameters}
        self._by_base: dict[str, list[SearchParameter]] = {}
        for parameter in definitions.search_parameters:
            for base in dict.fromkeys(parameter.base):
                self._by_base.setdefault(base, []).append(parameter)
        self._parameters: dict[str, Mapping[str, Parameter]] = {}
        self._pairing: dict[str, bool] = {}
        self.indexers: dict[str, Any] = {}  # Any: owned by search.index, which imports this module

    def knows(self, resource_type: str) -> bool:
        """True for a concrete resource type."""
        return resource_type in self._known_types

    def parameters(self, resource_type: str) -> Mapping[str, Parameter]:
        """Return the parameters of a type by code, those that have to be refused included."""
        known = self._parameters.get(resource_type)
        if known is None:
            known = self._parameters[resource_type] = self._compile(resource_type)
        return known

    def parameter(self, resource_type: str, code: str) -> Parameter | None:
        """Return one parameter of a type, None if it has none of that code."""
        return self.parameters(resource_type).get(code)

    def supported(self, resource_type: str) -> tuple[Parameter, ...]:
        """Return the parameters of a type that can be searched, by code."""
        parameters = self.parameters(resource_type)
        return tuple(parameters[code] for code in sorted(parameters) if not parameters[code].refusal)

    def references(self, resource_type: str) -> tuple[Parameter, ...]:
        """Return the reference parameters of a type."""
        return tuple(parameter for parameter in self.supported(resource_type) if parameter.type == "reference")

    def by_url(self, url: str) -> SearchParameter | None:
        """Return the definition with this canonical URL."""
        return self._by_url.get(url)

    def clinical_date_parameter(self, resource_type: str) -> str | None:
        """Return the code of the parameter that gives :attr:`Index.date`, None if the type has none."""
        if resource_type in _NOT_CLINICAL:
            return None
        parameters = self.parameters(resource_type)
        for code in CLINICAL_DATES:
            parameter = parameters.get(code)
            if parameter is not None and parameter.type == "date" and not parameter.refusal:
                return code
        return None

    def links(self, resource_type: str, compartment: str) -> tuple[str, ...]:
        """Return the keys of the references that link resources of the type into compartments of this kind."""
        definition = self.definitions.compartments[compartment]
        found = [self.parameter(resource_type, code) for code in definition.members.get(resource_type, ())]
        return tuple(
            dict.fromkeys(
                key
                for parameter in found
                if parameter is not None and not parameter.refusal and parameter.only in ("", compartment)
                for key in parameter.keys
            )
        )

    def pairs_patient_with_code(self, resource_type: str) -> bool:
        """True if entries of this type carry the pair of patient and code as one term."""
        known = self._pairing.get(resource_type)
        if known is None:
            patient, code = self.parameter(resource_type, "patient"), self.parameter(resource_type, "code")
            known = self._pairing[resource_type] = (
                patient is not None and patient.type == "reference" and code is not None and code.type == "token"
            )
        return known

    def _compile(self, resource_type: str) -> Mapping[str, Parameter]:
        bases = ["Resource", resource_type]
        if self.definitions.is_domain_resource(resource_type):
            bases.insert(1, "DomainResource")
        parameters = {
            parameter.code: self._parameter(resource_type, parameter)
            for base in bases
            for parameter in self._by_base.get(base, ())
        }
        found = derive(parameters, resource_type, _CLINICAL, _FIRST)
        return {
            code: msgspec.structs.replace(parameter, stored=found[code].stored, only=found[code].only)
            if code in found
            else parameter
            for code, parameter in parameters.items()
        }

    def _parameter(self, resource_type: str, definition: SearchParameter) -> Parameter:
        refusal = ""
        parts: tuple[Part, ...] = ()
        if definition.code in _OWN_RULES:
            refusal = "" if definition.code in ("_id", "_lastUpdated") else "not implemented"
        elif not definition.expression:
            refusal = "its definition has no expression"
        elif definition.type == COMPOSITE:
            parts, refusal = self._parts(definition)
        elif definition.type not in BY_CODE:
            refusal = f"the search type '{definition.type}' is unknown"
        elif definition.type == "special" and definition.code != "near":
            refusal = "a special parameter needs code of its own"
        # the standard's own expressions are known to compile (a test sees to it), so start does not wait for them
        if not refusal and not definition.url.startswith(STANDARD):
            refusal = self._expression_fault(resource_type, definition)
        return Parameter(
            resource_type,
            definition.code,
            definition.type,
            f"{resource_type}.{definition.code}",
            definition,
            self._targets(resource_type, definition) if definition.type == "reference" else (),
            parts,
            refusal,
            (definition.code,),
            single=single_form(definition.expression, resource_type, self.definitions)
            if definition.type == "token" and not refusal
            else None,
        )

    def _expression_fault(self, resource_type: str, definition: SearchParameter) -> str:
        try:
            select.compile(definition.expression, resource_type, self.definitions)
        except FhirPathError as error:
            return str(error)
        return ""

    def _parts(self, definition: SearchParameter) -> tuple[tuple[Part, ...], str]:
        parts = []
        expressions = self._component_expressions(definition)
        for component, expression in zip(definition.components, expressions, strict=True):
            named = self._named(component)
            if named is None or named.type not in BY_CODE:
                return (), f"its component {component.definition} is not a loaded parameter of a simple type"
            parts.append(Part(BY_CODE[named.type], named.code, named.targets or self.types, expression))
        if not parts:
            return (), "it has no components"
        return tuple(parts), unsupported(parts) or ""

    def _component_expressions(self, definition: SearchParameter) -> list[str]:
        """Return the components' expressions; two that the standard published the wrong way round are exchanged."""
        given = [component.expression for component in definition.components]
        if len(given) == 2:
            named = [self._named(component) for component in definition.components]
            if all(
                parameter is not None and parameter.expression.endswith(f".{other}")
                for parameter, other in zip(named, reversed(given), strict=True)
            ):
                return given[::-1]
        return given

    def _named(self, component: SearchComponent) -> SearchParameter | None:
        return self._by_url.get(component.definition.split("|", 1)[0])

    def _targets(self, resource_type: str, definition: SearchParameter) -> tuple[str, ...]:
        """Return the targets the parameter declares, narrowed where its expression resolves to one type."""
        own = alternatives(definition.expression, resource_type)
        resolved = [RESOLVES_TO.search(alternative) for alternative in own]
        if own and all(resolved):
            return tuple(dict.fromkeys(found[1] for found in resolved if found is not None))
        declared = tuple(target for target in definition.targets if target in self._known_types)
        return declared or self.types


def compile_parameters(
    definitions: Definitions, units: UnitConverter, zone: tzinfo, bases: tuple[str, ...] = ()
) -> SearchRegistry:
    """Prepare searching by these definitions; ``zone`` is where dates without an offset are.

    Absolute references below one of ``bases`` (without a trailing slash) are references to this server's resources.
    """
    return SearchRegistry(definitions, Setting(units, zone, bases))
