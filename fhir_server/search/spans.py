"""Comparisons of intervals that an index ordered by the low end can answer without reading all of it.

An entry that ends after some moment may have begun at any time before, so asking for high ends reads every entry
of a parameter. Therefore an interval wider than the ``reach`` of its search type is stored a second time, under the
key with :data:`WIDE` appended, and of the others it is known that they begin within ``reach`` of their end.
"""

from typing import Literal

from fhir_server.core.query import Condition, InRange, Node, any_of

WIDE = "~"
#: Dates: up to a month is narrow; numbers and quantities: only points are.
DATE_REACH = 32 * 86_400_000
NUMBER_REACH = 0

Entry = tuple[str, float, float, tuple[str, ...]]


def entries(suffix: str, low: float, high: float, units: tuple[str, ...], reach: float) -> tuple[Entry, ...]:
    """Return the entry of an interval, twice if it is wide."""
    if high - low <= reach:
        return ((suffix, low, high, units),)
    return (suffix, low, high, units), (suffix + WIDE, low, high, units)


class Span:
    """The comparisons of one key with the closed interval ``low`` to ``high``.

    With ``open_end`` the interval does not contain ``high`` itself (numbers are equal up to, not including, it).
    """

    def __init__(
        self, key: str, low: float, high: float, reach: float, unit: str | None = None, *, open_end: bool = False
    ) -> None:
        self._key = key
        self._low = low
        self._high = high
        self._reach = reach
        self._unit = unit
        self._until: Literal["lt", "le"] = "lt" if open_end else "le"
        self._beyond: Literal["ge", "gt"] = "ge" if open_end else "gt"

    def within(self) -> Node:
        """The whole entry lies in the interval."""
        return self._entry(
            Condition("low", "ge", self._low),
            Condition("low", self._until, self._high),
            Condition("high", self._until, self._high),
        )

    def not_within(self) -> Node:
        """The entry sticks out on one side."""
        return any_of(self.begins_before(), self.ends_after())

    def begins_before(self) -> Node:
        """The entry begins before the interval does."""
        return self._entry(Condition("low", "lt", self._low))

    def ends_before(self) -> Node:
        """The entry ends before the interval begins."""
        return self._entry(Condition("low", "lt", self._low), Condition("high", "lt", self._low))

    def begins_after(self) -> Node:
        """The entry begins after the interval has ended."""
        return self._entry(Condition("low", self._beyond, self._high))

    def ends_after(self) -> Node:
        """The entry ends after the interval does."""
        ends = Condition("high", self._beyond, self._high)
        narrow = self._entry(Condition("low", self._beyond, self._high - self._reach), ends)
        return any_of(narrow, self._wide(ends))

    def ends_after_or_within(self) -> Node:
        """The entry ends after the interval, or lies in it."""
        begins = self._entry(Condition("low", "ge", self._low))
        ends = Condition("high", self._beyond, self._high)
        if self._high - self._low >= self._reach:  # a narrow entry cannot span the interval
            return any_of(begins, self._wide(ends))
        across = self._entry(
            Condition("low", self._beyond, self._high - self._reach), Condition("low", "lt", self._low), ends
        )
        return any_of(begins, across, self._wide(ends))

    def overlaps(self) -> Node:
        """The entry and the interval have something in common (an open end counts)."""
        begins, ends = Condition("low", "le", self._high), Condition("high", "ge", self._low)
        narrow = self._entry(Condition("low", "ge", self._low - self._reach), begins, ends)
        return any_of(narrow, self._wide(begins, ends))

    def _entry(self, *conditions: Condition) -> Node:
        return InRange(self._key, conditions, self._unit)

    def _wide(self, *conditions: Condition) -> Node:
        return InRange(self._key + WIDE, conditions, self._unit)
