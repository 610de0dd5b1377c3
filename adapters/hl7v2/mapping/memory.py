"""What a conversion made of a text, remembered: the doctors, departments, codes and names of a feed come again.

A conversion that looks at nothing but its value, the source, its tables and the zone makes the same of the same text
every time. Whether it does is not declared but watched: the second time a text comes, the conversion runs with a
:class:`Watched` scope, which notes when anything else of the message is asked for. If nothing was, what came of it is
kept (marshalled: each use gets a copy of its own), with the parts of the value it used. Texts that come once cost one
look-up. The place of the value (number of its field, level) is part of what is remembered; a conversion that looks at
a value's neighbours must ask the scope for something of the message first, as ``jp_practitioner`` does.
"""

import marshal
from collections.abc import Hashable
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from adapters.hl7v2.mapping.scope import Scope

if TYPE_CHECKING:
    from adapters.hl7v2.mapping.conversions import Convert
    from adapters.hl7v2.mapping.tables import Tables
    from adapters.hl7v2.mapping.values import Taken, Value
    from adapters.sources import Source

#: texts a shelf holds before it begins anew, and their greatest length
_MOST, _LONGEST = 2048, 300
#: texts a conversion gets to show that it looks at its value only
_TRIALS = 8

#: an atom, or a marshalled element, and what was used of the value
Kept = tuple[Any, "Taken"]
#: what of the message a conversion must not ask for to be remembered
_MESSAGE = frozenset(("draft", "group", "index", "number", "run", "segment"))


class Shelf:
    """What one conversion made of texts. ``once``: texts that came once; ``vain``: of which nothing can be kept."""

    __slots__ = ("kept", "once", "vain")

    def __init__(self) -> None:
        self.kept: dict[Hashable, Kept] = {}
        self.once: set[Hashable] = set()
        self.vain: set[Hashable] = set()

    @property
    def hopeless(self) -> bool:
        """Whether the conversion has shown that it looks at more than its value."""
        return not self.kept and len(self.vain) >= _TRIALS

    def is_second(self, key: Hashable) -> bool:
        """Note that a text came; tell whether it had come before."""
        once = self.once
        if key in once:
            once.discard(key)
            return True
        if len(once) >= _MOST:
            once.clear()
        once.add(key)
        return False

    def keep(self, key: Hashable, what: Kept | None) -> None:
        """Keep what came of a text; None: that nothing can be kept."""
        if what is None:
            if len(self.vain) >= _MOST:
                self.vain.clear()
            self.vain.add(key)
            return
        if len(self.kept) >= _MOST:
            self.kept.clear()
        self.kept[key] = what


class Memory:
    """The shelves of all conversions, for one source, zone and set of delimiters."""

    __slots__ = ("shelves",)

    def __init__(self) -> None:
        self.shelves: dict[Hashable, Shelf] = {}

    def shelf(self, name: Hashable) -> Shelf:
        """Return a conversion's shelf."""
        found = self.shelves.get(name)
        if found is None:
            found = self.shelves[name] = Shelf()
        return found


class Watched(Scope):
    """A scope that notes whether anything of the message was asked for, beside the value itself."""

    __slots__ = ("origin", "touched")

    origin: Scope

    def __init__(self, scope: Scope) -> None:
        origin: Scope = scope.origin if isinstance(scope, Watched) else scope
        super().__init__(origin.run, origin.group, origin.draft, origin.index, origin.segment)
        self.number = origin.number
        self.origin = origin
        self.touched = False

    def __getattribute__(self, name: str) -> Any:
        """Note what is asked for."""
        if name in _MESSAGE:
            self.touched = True
        return super().__getattribute__(name)

    @property
    def source(self) -> "Source":
        """The sending system."""
        return self.origin.run.source

    @property
    def tables(self) -> "Tables":
        """Code tables."""
        return self.origin.run.compiled.tables

    @property
    def zone(self) -> tzinfo:
        """The zone of times that carry none."""
        return self.origin.run.zone

    @property
    def memory(self) -> Memory:
        """What conversions made of texts before."""
        return self.origin.run.memory

    def convert(self, name: str, value: "Value | None", table: str = "") -> Any:  # a FHIR element
        """Apply a data type map, a primitive or another conversion by name."""
        return self.origin.run.compiled.converter(name, table)(value, self)


def remembered(convert: "Convert", name: Hashable) -> "Convert":
    """Return a conversion that need not convert a text again and again."""

    def recall(value: "Value | None", scope: Scope) -> Any:
        if value is None:
            return convert(None, scope)
        shelf = scope.memory.shelf(name)
        text = value.text
        key = (text, value.parent.number, value.level)
        kept = shelf.kept.get(key)
        if kept is None:
            if shelf.hopeless or key in shelf.vain or len(text) > _LONGEST:
                return convert(value, scope)
            if value.touched or not shelf.is_second(key):
                return convert(value, scope)
            return _learn(convert, value, scope, shelf, key)
        result, taken = kept
        value.retake(taken)
        return marshal.loads(result) if type(result) is bytes else result  # noqa: S302  (written by ourselves)

    return recall


def _learn(convert: "Convert", value: "Value", scope: Scope, shelf: Shelf, key: Hashable) -> Any:
    watched = Watched(scope)
    result = convert(value, watched)
    if watched.touched:
        if isinstance(scope, Watched):
            scope.touched = True
        shelf.keep(key, None)
    elif result is None or isinstance(result, str | bool | int):
        shelf.keep(key, (result, value.taken()))
    else:
        try:
            shelf.keep(key, (marshal.dumps(result), value.taken()))
        except ValueError:  # a decimal
            shelf.keep(key, None)
    return result
