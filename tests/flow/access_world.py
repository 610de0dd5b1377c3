"""Hypothesis strategies for access control: small pasts, predicates and requests in which everything often meets."""

from typing import Any, Literal

import msgspec
from hypothesis import strategies as st

from fhir_server.core.query import And, AnyTerm, Key, KeyIn, Node, Not, Or, TypeIn
from tests.flow.client import entry

TYPES = ("Patient", "Observation", "Encounter", "Condition")
IDS = ("1", "2", "3")
TAGS = ("a", "b")
CODES = ("x", "y")
NAMES = ("Abe", "Baba")

ids = st.sampled_from(IDS)
tags = st.sampled_from(TAGS)
codes = st.sampled_from(CODES)
names = st.sampled_from(NAMES)
types = st.sampled_from(TYPES)
keys = st.builds(Key, types, ids)

# --- resources --------------------------------------------------------------------------------------


def _coded(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "urn:c", "code": code}]}


@st.composite
def resources(draw: st.DrawFn, resource_type: str) -> dict[str, Any]:
    """Return a small valid resource whose references and words often meet others'."""
    tree: dict[str, Any] = {"resourceType": resource_type}
    if draw(st.booleans()):
        tree["meta"] = {"tag": [{"system": "urn:t", "code": draw(tags)}]}
    patient = {"reference": f"Patient/{draw(ids)}"}
    if resource_type == "Patient":
        tree["name"] = [{"family": draw(names)}]
        if draw(st.booleans()):
            tree["link"] = [{"other": patient, "type": "seealso"}]
        return tree
    tree["subject"] = patient
    if resource_type == "Encounter":
        tree |= {"status": "finished", "class": {"system": "urn:k", "code": draw(codes)}}
        if draw(st.booleans()):
            tree["partOf"] = {"reference": f"Encounter/{draw(ids)}"}
        return tree
    tree["code"] = _coded(draw(codes))
    if draw(st.booleans()):
        tree["encounter"] = {"reference": f"Encounter/{draw(ids)}"}
    if resource_type == "Observation":
        tree["status"] = "final"
        if draw(st.booleans()):
            tree["effectiveDateTime"] = f"2024-0{draw(st.integers(1, 3))}-01"
    return tree


Past = tuple[Key, dict[str, Any] | None]  # a write, or a deletion
pasts = keys.flatmap(
    lambda key: st.tuples(
        st.just(key), st.just(None) if key.id == "3" and key.type == "Condition" else resources(key.type)
    )
)
histories: st.SearchStrategy[list[Past]] = st.lists(
    st.one_of(pasts, pasts, pasts, pasts, st.tuples(keys, st.none())), min_size=2, max_size=14
)

# --- who may see what -------------------------------------------------------------------------------

_terms = st.one_of(
    st.builds(lambda name, tag: f"{name}._tag=urn:t|{tag}", types, tags),
    st.builds(lambda name, code: f"{name}.code=urn:c|{code}", st.sampled_from(("Observation", "Condition")), codes),
    st.builds(lambda name, id_: f"{name}.subject=Patient/{id_}", st.sampled_from(TYPES[1:]), ids),
    st.builds(lambda name, id_: f"{name}.@Patient=Patient/{id_}", types, ids),
)
accesses: st.SearchStrategy[Node] = st.recursive(
    st.one_of(
        st.builds(AnyTerm, st.lists(_terms, min_size=1, max_size=3).map(tuple)),
        st.builds(TypeIn, st.lists(types, min_size=1, max_size=3).map(tuple)),
        st.builds(KeyIn, st.lists(keys, min_size=1, max_size=4).map(tuple)),
    ),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=2).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=4,
)


def shows(access: Node, key: Key, terms: frozenset[str]) -> bool:
    """Say, without any of the product's evaluation, whether the predicate shows a resource."""
    match access:
        case AnyTerm(wanted):
            return not terms.isdisjoint(wanted)
        case TypeIn(names_):
            return key.type in names_
        case KeyIn(wanted_keys):
            return key in wanted_keys
        case Not(part):
            return not shows(part, key, terms)
        case And(parts):
            return all(shows(part, key, terms) for part in parts)
        case Or(parts):
            return any(shows(part, key, terms) for part in parts)
        case _:
            raise AssertionError(access)


# --- questions and changes --------------------------------------------------------------------------


class Ask(msgspec.Struct, frozen=True):
    """One request; ``pages`` follows the next links to the end."""

    method: str
    url: str
    body: Any = None
    none_exist: str | None = None
    pages: bool = False


_FILTERS: dict[str, tuple[str, ...]] = {
    "Patient": (
        "family={n}", "link=Patient/{i}", "link.family={n}", "_has:Observation:patient:code={c}",
        "_has:Condition:subject:_tag={t}", "_has:Encounter:patient:_has:Observation:encounter:code={c}",
        "_has:Observation:subject:encounter.class={c}",
    ),
    "Observation": (
        "code={c}", "patient={i}", "subject:Patient.family={n}", "patient._has:Condition:patient:code={c}",
        "encounter.subject:Patient.family={n}", "encounter.part-of.class={c}", "encounter:missing=true",
        "patient.link.family={n}", "code:not={c}", "date=ge2024-02", "patient={i}&code={c}",
    ),
    "Encounter": (
        "class={c}", "part-of=Encounter/{i}", "part-of.subject:Patient.family={n}", "subject=Patient/{i}",
        "_has:Observation:encounter:code={c}", "patient.family={n}", "part-of:missing=false",
    ),
    "Condition": ("code={c}", "subject=Patient/{i}", "encounter.class={c}", "patient.family={n}"),
}  # fmt: skip
_COMMON = ("_tag={t}", "_id={i}", "_tag:not={t}", "_lastUpdated=gt2020")
_MODES = ("_count=1", "_count=2", "_total=accurate", "_summary=count", "_sort=_lastUpdated", "_sort=-_id",
          "_summary=text", "_count=0")  # fmt: skip
_EXTRAS: dict[str, tuple[str, ...]] = {
    "Patient": ("_include=*", "_include:iterate=Patient:link", "_revinclude=Observation:subject", "_revinclude=*",
                "_revinclude=Patient:link", "_revinclude=Encounter:patient&_revinclude:iterate=Condition:encounter",
                "_sort=-family"),
    "Observation": ("_include=Observation:subject", "_include=*", "_sort=-date", "_sort=code,-_lastUpdated",
                    "_include=Observation:encounter&_include:iterate=Encounter:part-of",
                    "_include=Observation:patient&_include:iterate=Patient:link"),
    "Encounter": ("_include:iterate=Encounter:part-of", "_revinclude=Condition:encounter", "_include=Encounter:patient",
                  "_revinclude:iterate=Encounter:part-of"),
    "Condition": ("_include=Condition:*", "_include=Condition:subject&_revinclude:iterate=Observation:patient"),
}  # fmt: skip


@st.composite
def conditions(draw: st.DrawFn, resource_type: str) -> str:
    """Return search parameters that say which resources."""
    text = draw(st.sampled_from((*_FILTERS[resource_type], *_COMMON)))
    return text.format(n=draw(names), i=draw(ids), c=draw(codes), t=draw(tags))


@st.composite
def searches(draw: st.DrawFn) -> Ask:
    """Return a search of one type, a compartment or everything, to its last page."""
    resource_type = draw(types)
    where = draw(st.lists(conditions(resource_type), max_size=2))
    how = draw(st.lists(st.sampled_from(_MODES + 2 * _EXTRAS[resource_type]), max_size=3, unique=True))
    modes = {mode.split("=")[0]: mode for mode in how if mode.startswith(("_count", "_summary", "_total", "_sort"))}
    parameters = [*where, *modes.values(), *(mode for mode in how if "include" in mode)]
    path = draw(st.sampled_from((resource_type, resource_type, resource_type, f"Patient/{draw(ids)}/{resource_type}")))
    return Ask("GET", f"{path}?{'&'.join(parameters)}", pages=True)


@st.composite
def reads(draw: st.DrawFn) -> Ask:
    """Return any other question."""
    key, id_, tag, code = draw(keys), draw(ids), draw(tags), draw(codes)
    count = draw(st.sampled_from(("", "?_count=1", "?_count=2")))
    urls = (
        f"{key}", f"{key}", f"{key}/_history/1", f"{key}/_history/2", f"{key}/_history{count}",
        f"{key.type}/_history{count}", f"_history{count}", f"Patient/{id_}/*?_count=2", f"?_type=Patient,{key.type}",
        f"?_type={','.join(TYPES)}&_tag={tag}&_count=2&_total=accurate", f"Patient/{id_}/$everything",
        f"Patient/{id_}/$everything?_count=1", f"Encounter/{id_}/$everything", f"{key}/$meta",
        f"Observation/$lastn?patient={id_}&code={code}&max=2", f"Observation/$lastn?patient={id_}",
    )  # fmt: skip
    return Ask("GET", draw(st.sampled_from(urls)), pages=True)


@st.composite
def writes(draw: st.DrawFn) -> Ask:
    """Return a conditional change, alone or in a Bundle, or a deletion."""
    resource_type = draw(types)
    where, body = draw(conditions(resource_type)), draw(resources(resource_type))
    patch = [{"op": "add", "path": "/language", "value": "ja"}]
    other = draw(conditions("Patient"))
    refers = {**draw(resources("Condition")), "subject": {"reference": f"Patient?{other}"}}
    bundles: tuple[tuple[Literal["batch", "transaction"], tuple[dict[str, Any], ...]], ...] = (
        (
            "transaction",
            (entry("POST", resource_type, body, ifNoneExist=where), entry("GET", f"{resource_type}?{where}")),
        ),
        ("transaction", (entry("PUT", f"{resource_type}?{where}", body),)),
        ("transaction", (entry("POST", "Condition", refers),)),
        ("transaction", (entry("DELETE", f"{resource_type}?{where}"),)),
        ("batch", (entry("GET", f"{draw(keys)}"), entry("POST", resource_type, body, ifNoneExist=where))),
    )  # fmt: skip
    kind, entries = draw(st.sampled_from(bundles))
    return draw(
        st.sampled_from(
            (
                Ask("POST", resource_type, body, none_exist=where),
                Ask("PUT", f"{resource_type}?{where}", body),
                Ask("PATCH", f"{resource_type}?{where}", patch),
                Ask("DELETE", f"{resource_type}?{where}"),
                Ask("DELETE", f"{draw(keys)}"),
                Ask("POST", "", {"resourceType": "Bundle", "type": kind, "entry": list(entries)}),
            )
        )
    )


asks = st.lists(st.one_of(searches(), searches(), reads(), writes()), min_size=1, max_size=5)
