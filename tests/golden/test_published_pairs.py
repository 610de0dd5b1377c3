"""HL7's mapping against the Bundles that other converters publish (classes of differences: docs/mapping.md)."""

from collections import Counter

import pytest

from adapters.hl7v2.mapping.engine import Mapper
from tests.data import test_data
from tests.golden import published


@pytest.fixture(scope="module")
def mapper() -> Mapper:
    return Mapper.load()


@pytest.fixture(scope="module")
def compared(mapper: Mapper) -> list[tuple[published.Pair, published.Ours]]:
    return [(pair, published.Ours(mapper, pair.text)) for pair in published.pairs(test_data("v2"))]


def misses(
    compared: list[tuple[published.Pair, published.Ours]],
) -> list[tuple[str, published.Pair, published.Fact]]:
    return [
        (published.why_not(fact, pair, ours), pair, fact)
        for pair, ours in compared
        for fact in pair.facts
        if not ours.has(fact)
    ]


def test_at_least_95_of_100_facts_of_the_messages_hold(
    compared: list[tuple[published.Pair, published.Ours]],
) -> None:
    found = misses(compared)
    classes = Counter(why for why, _, _ in found)
    total = sum(len(pair.facts) for pair, _ in compared)
    configured = classes["configuration"]  # not in the message: the peer's own name
    held = 1 - (len(found) - configured) / (total - configured)
    print(f"{total} facts, {len(found)} do not hold: {classes.most_common()}; of the messages' own {held:.4f} hold")
    assert held >= 0.965


def test_every_fact_that_does_not_hold_is_explained(
    compared: list[tuple[published.Pair, published.Ours]],
) -> None:
    unexplained = [f"{pair.case}: {fact.type}.{fact.path}" for why, pair, fact in misses(compared) if not why]
    assert unexplained == []


def test_every_published_message_is_mapped(compared: list[tuple[published.Pair, published.Ours]]) -> None:
    errors = [
        f"{pair.case}: {finding.text}"
        for pair, ours in compared
        for finding in ours.mapped.findings
        if finding.severity == "error"
    ]
    assert errors == []


def test_nothing_of_a_published_message_vanishes(compared: list[tuple[published.Pair, published.Ours]]) -> None:
    ledger = published.Ledger()
    found = Counter(place for _, ours in compared for place in ledger.vanished(ours))
    assert found - KNOWN == Counter()


#: displays that the table's own replace; name types of people known already, reported where they came first
KNOWN = Counter({"ORC-28.2.1": 2, "NK1-3.2.1": 1, "PV1-7.10.1": 1, "PV1-17.10.1": 1, "TXA-5.10.1": 1})
