"""Hypothesis strategies shared by all tests: a small world in which resources and questions often meet."""

from hypothesis import strategies as st

from fhir_server.core.query import (
    EVERYTHING,
    NOTHING,
    And,
    AnyTerm,
    Condition,
    Index,
    InRange,
    Key,
    KeyIn,
    Node,
    Not,
    Or,
    Present,
    ReferredBy,
    Refers,
    SortKey,
    TextMatch,
    TypeIn,
    Updated,
)

TYPES = ("Encounter", "Observation", "Patient")
IDS = ("1", "2", "a-b")
CODES = ("code", "status", "x.y$z")
REFERENCES = ("part-of", "subject")
WORDS = ("", "a", "ab", "abc", "b", "やまだ", "山田", "a.c", "A", "[a]")
NUMBERS = (-5, 0, 1, 2, 2.5, 10, float("-inf"), float("inf"), 2**70)
UNITS = ("kg", "http://unitsofmeasure.org|kg", "mm[Hg]")

types = st.sampled_from(TYPES)
keys = st.builds(Key, types, st.sampled_from(IDS))
words = st.sampled_from(WORDS)
numbers = st.sampled_from(NUMBERS)
codes = st.sampled_from(CODES)
references = st.sampled_from(REFERENCES)
times = st.integers(0, 12)


@st.composite
def indexes(draw: st.DrawFn, resource_type: str) -> Index:
    """Return an index as the search room would build one for a resource of the type."""
    values: dict[str, tuple[str, ...]] = {}
    for code in CODES:
        values[code] = tuple(draw(st.lists(words.filter(bool), max_size=2, unique=True)))
    for code in REFERENCES:
        values[code] = tuple(str(key) for key in draw(st.lists(keys, max_size=2, unique=True)))
    ranges = []
    for low, high in draw(st.lists(st.tuples(numbers, numbers), max_size=3)):
        units = tuple(draw(st.lists(st.sampled_from(UNITS), max_size=2, unique=True)))
        ranges.append((f"{resource_type}.value", min(low, high), max(low, high), units))
    texts = [(f"{resource_type}.{name}", word.lower(), word) for name, word in draw(_texts)]
    present = {code for code, found in values.items() if found} | set(draw(st.sets(st.sampled_from(("value", "name")))))
    return Index(
        terms=tuple(f"{resource_type}.{code}={value}" for code, found in values.items() for value in found),
        ranges=tuple(ranges),
        texts=tuple(texts),
        values={code: found for code, found in values.items() if found},
        present=tuple(sorted(present)),
        date=draw(st.none() | st.integers(-3, 3)),
    )


_texts = st.lists(st.tuples(st.sampled_from(("name", "code:text")), words), max_size=3)


_term_texts = st.builds(lambda a, b, c: f"{a}.{b}={c}", types, codes, words)
_term_texts |= st.builds(lambda a, b, c: f"{a}.{b}={c}", types, references, keys)
_comparisons = st.sampled_from(("lt", "le", "gt", "ge"))
_conditions = st.builds(Condition, st.sampled_from(("low", "high")), _comparisons, numbers)

any_terms = st.builds(AnyTerm, st.lists(_term_texts, max_size=3).map(tuple))
in_ranges = st.builds(
    InRange,
    st.builds(lambda a: f"{a}.value", types),
    st.lists(_conditions, max_size=3).map(tuple),
    st.none() | st.sampled_from(UNITS),
)
text_matches = st.builds(
    TextMatch,
    st.builds(lambda a, b: f"{a}.{b}", types, st.sampled_from(("name", "code:text"))),
    words,
    st.sampled_from(("starts", "equals", "contains", "exact")),
)
key_ins = st.builds(KeyIn, st.lists(keys, max_size=6).map(tuple))
_leaves: st.SearchStrategy[Node] = st.one_of(
    st.just(EVERYTHING),
    st.just(NOTHING),
    any_terms,
    in_ranges,
    text_matches,
    st.builds(Present, st.sampled_from((*CODES, *REFERENCES, "value", "name"))),
    key_ins,
    st.builds(TypeIn, st.lists(types, max_size=2).map(tuple)),
    st.builds(Updated, _comparisons, times),
)


def _combined(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(inner, max_size=3).map(tuple)
    return st.one_of(
        st.builds(And, several),
        st.builds(Or, several),
        st.builds(Not, inner),
        st.builds(Refers, types, references, st.lists(types, max_size=3, unique=True).map(tuple), inner),
        st.builds(ReferredBy, types, references, inner),
    )


nodes: st.SearchStrategy[Node] = st.recursive(_leaves, _combined, max_leaves=5)
#: predicates of the kind access control makes, and a good many that show everything
accesses: st.SearchStrategy[Node] = st.just(EVERYTHING) | nodes

sort_keys = st.one_of(
    st.builds(SortKey, st.sampled_from(("updated", "id", "date")), st.just(""), st.booleans()),
    st.builds(SortKey, st.just("range"), st.builds(lambda a: f"{a}.value", types), st.booleans()),
    st.builds(SortKey, st.just("text"), st.builds(lambda a: f"{a}.name", types), st.booleans()),
    st.builds(SortKey, st.just("value"), codes | references, st.booleans()),
)
sorts = st.lists(sort_keys, max_size=3).map(tuple)
