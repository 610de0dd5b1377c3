"""Patient and code asked for together become the one term that is stored for the pair."""

from collections.abc import Mapping, Sequence

from fhir_server.core.query import AnyTerm, Node
from fhir_server.search.parameters import Parameter, SearchRegistry

_LARGEST_PRODUCT = 200


def fused(nodes: Sequence[Node], registry: SearchRegistry, types: Sequence[str]) -> list[Node]:
    """Return the nodes with a patient and a code criterion of one type replaced by their pairs."""
    if len(types) != 1 or len(nodes) < 2 or not registry.pairs_patient_with_code(types[0]):
        return list(nodes)
    resource_type = types[0]
    patient, code = registry.parameters(resource_type)["patient"], registry.parameters(resource_type)["code"]
    patients = _find(nodes, _spelt(patient))
    codes = _find(nodes, {f"{code.keys[0]}=": ""}) if len(code.keys) == 1 else None
    if patients is None or codes is None:
        return list(nodes)
    (who, references), (what, spellings) = patients, codes
    if len(references) * len(spellings) > _LARGEST_PRODUCT:
        return list(nodes)
    if any(spelling[0] == "|" or spelling[-1] == "|" for spelling in spellings):
        return list(nodes)
    if any("/_history/" in reference for reference in references):  # pairs are stored without versions
        return list(nodes)
    stem = f"{resource_type}.patient&code="
    pairs = AnyTerm(tuple(f"{stem}{reference}&{spelling}" for reference in references for spelling in spellings))
    return [pairs, *[node for node in nodes if node is not who and node is not what]]


def _spelt(patient: Parameter) -> Mapping[str, str]:
    """Return how terms of one patient begin, and with what their values have to."""
    spelt = {f"{key}=": f"{patient.only}/" if patient.only else "" for key in patient.keys}
    if len(spelt) > 1:
        return {}
    return {**spelt, f"{patient.key}=": ""} if patient.only else spelt


def _find(nodes: Sequence[Node], spelt: Mapping[str, str]) -> tuple[AnyTerm, list[str]] | None:
    """Return the first criterion whose terms all have one of the prefixes, and their values."""
    for node in nodes:
        if not isinstance(node, AnyTerm):
            continue
        values = []
        for term in node.terms:
            prefix = term[: term.index("=") + 1]
            if prefix not in spelt or not term.startswith(spelt[prefix], len(prefix)):
                break
            values.append(term[len(prefix) :])
        else:
            if values:
                return node, values
    return None
