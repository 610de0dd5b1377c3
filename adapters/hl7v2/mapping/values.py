"""Values of a message as mapping rows see them: split once, and each remembers which of its parts a row has taken."""

from collections.abc import Iterator, Sequence

from adapters.hl7v2.escapes import Delimiters, unescape
from adapters.hl7v2.segment import NULL, Segment, location

#: which delimiter parts a repetition, and which a component
_SEPARATORS = (1, 4)


#: what has been used of a value: its bits, and the same of each part that was looked into
Taken = tuple[int, tuple[tuple[int, "Taken"], ...]]


class Value:
    """A repetition of a field, a component of it, or a subcomponent: one thing with numbered parts.

    The parts of a repetition are its components, those of a component its subcomponents. A value without delimiters
    has one part, itself. Numbers count from 1. ``used`` has bit *n* set when part *n* has been taken.
    """

    __slots__ = ("_kids", "delimiters", "level", "number", "parent", "parts", "text", "used")

    def __init__(self, text: str, level: int, parent: "Value | Field", number: int, delimiters: Delimiters) -> None:
        self.text = text  # as sent, still escaped
        self.level = level  # 0 repetition, 1 component, 2 subcomponent
        self.parent = parent
        self.number = number
        self.delimiters = delimiters
        self.used = 0
        self._kids: dict[int, Value] | None = None
        separator = delimiters[_SEPARATORS[level]] if level < 2 else ""
        self.parts: list[str] = text.split(separator) if separator else [text]  # as sent

    @property
    def is_null(self) -> bool:
        """Whether the whole value is ``""``."""
        return self.text == NULL

    @property
    def valued(self) -> bool:
        """Whether there is any text in it besides delimiters and nulls."""
        text = self.text
        if not text or text == NULL:
            return False
        if text[0].isalnum():
            return True
        delimiters = self.delimiters
        rest = text.strip(delimiters.component + delimiters.subcomponent)
        return bool(rest) and (rest[0] != '"' or any(part and part != NULL for part in self.parts))

    @property
    def several(self) -> bool:
        """Whether it has more than one part."""
        return len(self.parts) > 1

    def part(self, number: int) -> "Value | None":
        """Return a part as a value of its own; None if it is absent or empty."""
        parts = self.parts
        if number > len(parts) or not parts[number - 1]:
            return None
        kids = self._kids
        if kids is None:
            kids = self._kids = {}
        kid = kids.get(number)
        if kid is None:
            kid = kids[number] = type(self)(parts[number - 1], self.level + 1, self, number, self.delimiters)
        return kid

    def get(self, number: int = 1, sub: int = 0) -> str:
        """Return the text of a part (its first subcomponent), unescaped; empty if absent or null."""
        parts = self.parts
        if number > len(parts):
            return ""
        text = parts[number - 1]
        if not text:
            return ""
        if self.level == 0:
            separator = self.delimiters.subcomponent
            if separator and separator in text:
                pieces = text.split(separator)
                text = pieces[(sub or 1) - 1] if (sub or 1) <= len(pieces) else ""
            elif sub > 1:
                return ""
        if text == NULL:
            return ""
        return unescape(text, self.delimiters)

    def take(self, number: int = 1, sub: int = 0) -> str:
        """Like :meth:`get`, and note that the part has been used."""
        text = self.get(number, sub)
        self.mark(number, sub)
        return text

    def mark(self, number: int, sub: int = 0) -> None:
        """Note that a part (of one with subcomponents: this subcomponent, by default the first) has been used."""
        if self.level == 0:
            separator = self.delimiters.subcomponent
            parts = self.parts
            if separator and number <= len(parts) and separator in parts[number - 1]:
                kid = self.part(number)
                if kid is not None:
                    kid.used |= 1 << (sub or 1)
                return
        self.used |= 1 << number

    def use(self) -> None:
        """Note that all of it has been used."""
        self.used = -1

    def release(self) -> None:
        """Let go of the parts."""
        self._kids = None

    def use_like(self, other: "Value") -> None:
        """Note that the same parts have been used as of another value with the same text."""
        self.used = other.used
        self._kids = other._kids

    @property
    def touched(self) -> bool:
        """Whether any of it has been used or looked into."""
        return self.used != 0 or self._kids is not None

    def taken(self) -> Taken:
        """Return what has been used, for :meth:`retake`."""
        kids = self._kids
        return self.used, tuple((number, kid.taken()) for number, kid in kids.items()) if kids else ()

    def retake(self, taken: Taken) -> None:
        """Note that the same has been used as once before."""
        self.used |= taken[0]
        for number, inner in taken[1]:
            kid = self.part(number)
            if kid is not None:
                kid.retake(inner)

    def whole(self) -> str:
        """Return the whole text unescaped, delimiters included, and note that all of it has been used."""
        self.used = -1
        return "" if self.is_null else unescape(self.text, self.delimiters)

    def unused(self) -> Iterator[tuple[int, ...]]:
        """Yield the numbers of the valued parts nobody took: ``()`` for the whole, ``(4,)``, ``(4, 2)``."""
        used = self.used
        if used == -1 or not self.valued:
            return
        parts = self.parts
        if not used and self._kids is None and len(parts) == 1:
            yield ()
            return
        for number, text in enumerate(parts, start=1):
            if not text or text == NULL or used >> number & 1:
                continue
            kid = self._kids.get(number) if self._kids else None
            if kid is None:
                yield (number,) if len(parts) > 1 or number > 1 else ()
            elif kid.used == -1:
                continue
            else:
                for rest in kid.unused():
                    yield (number, *rest)

    @property
    def location(self) -> str:
        """Where it is, such as ``PID-5[2].1``."""
        numbers: list[int] = []
        here: Value | Field = self
        while isinstance(here, Value):
            numbers.append(here.number)
            here = here.parent
        numbers.reverse()
        repetition, component, sub = (*numbers, 0, 0)[:3]
        segment = here.segment
        return location(segment.name, here.number, repetition, component, sub=sub, ordinal=segment.ordinal)

    def __repr__(self) -> str:
        return f"<Value {self.location}>"  # never the content


class PlainValue(Value):
    """A value of a segment without escapes, nulls and subcomponents, as most are: its texts are what was sent."""

    __slots__ = ()

    @property
    def is_null(self) -> bool:
        """Never."""
        return False

    def get(self, number: int = 1, sub: int = 0) -> str:
        """Return the text of a part."""
        parts = self.parts
        if number > len(parts) or (sub > 1 and not self.level):
            return ""
        return parts[number - 1]

    def take(self, number: int = 1, sub: int = 0) -> str:
        """Return the text of a part, and note that it has been used."""
        self.used |= 1 << number
        parts = self.parts
        if number > len(parts) or (sub > 1 and not self.level):
            return ""
        return parts[number - 1]

    def mark(self, number: int, sub: int = 0) -> None:  # noqa: ARG002  (there are no subcomponents)
        """Note that a part has been used."""
        self.used |= 1 << number

    def whole(self) -> str:
        """Return the whole text, delimiters included, and note that all of it has been used."""
        self.used = -1
        return self.text


def is_plain(segment: Segment) -> bool:
    """Tell whether no text of a segment is written otherwise than it reads."""
    line, delimiters = segment.line, segment.delimiters
    escape, inner = delimiters.escape, delimiters.subcomponent
    if escape and (escape in line or (escape == "¥" and "\\" in line)):
        return False
    return not (inner and inner in line) and NULL not in line


class Field:
    """One field of one segment, as its repetitions."""

    __slots__ = ("number", "segment", "values")

    def __init__(self, segment: Segment, number: int, text: str, kind: type[Value] = Value) -> None:
        self.segment = segment
        self.number = number
        self.values: Sequence[Value]
        delimiters = segment.delimiters
        separator = delimiters.repetition
        if separator and separator in text and not (number <= 2 and segment.name == "MSH"):
            self.values = [kind(one, 0, self, n, delimiters) for n, one in enumerate(text.split(separator), start=1)]
        else:
            self.values = [kind(text, 0, self, 1, delimiters)] if text else []


_NONE: tuple[Value, ...] = ()


class SegmentView:
    """A segment whose fields remember what was taken of them."""

    __slots__ = ("fields", "kind", "name", "ordinal", "present", "raw", "segment")

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.name = segment.name
        self.ordinal = segment.ordinal
        self.raw = segment.fields  # as sent, index = number in the standard
        self.present = tuple(map(bool, self.raw))  # which of them have a text
        self.fields: dict[int, Field] = {}
        self.kind = PlainValue if is_plain(segment) else Value

    def field(self, number: int) -> Sequence[Value]:
        """Return the field's repetitions, empty ones included; none if the field is absent or empty."""
        found = self.fields.get(number)
        if found is not None:
            return found.values
        raw = self.raw
        text = raw[number] if 0 < number < len(raw) else ""
        if not text:
            return _NONE
        found = self.fields[number] = Field(self.segment, number, text, self.kind)
        return found.values

    def first(self, number: int) -> Value | None:
        """Return the field's first repetition, if it has any."""
        values = self.field(number)
        return values[0] if values else None

    def text(self, number: int, component: int = 1, sub: int = 0) -> str:
        """Return a text of the first repetition; empty if absent or null."""
        values = self.field(number)
        return values[0].get(component, sub) if values else ""

    def is_null(self, number: int) -> bool:
        """Tell whether the field is ``""``."""
        raw = self.raw
        return 0 < number < len(raw) and raw[number] == NULL

    def release(self) -> None:
        """Let go of the values: they and their fields name each other, and would wait for the collector."""
        for field in self.fields.values():
            for value in field.values:
                value.release()
            field.values = _NONE
        self.fields.clear()

    def unused(self, handled: frozenset[tuple[str, int]]) -> Iterator[str]:
        """Yield the locations (without ordinals) that have a value nobody took."""
        name = self.name
        fields = self.fields
        if (name, 0) in handled:
            return
        for number, text in enumerate(self.raw):
            if not text or not number:
                continue
            field = fields.get(number)
            if field is not None:
                values = field.values
                if len(values) == 1:
                    used = values[0].used
                    # the commonest cases: all of one value taken, or one plain value
                    if used == -1 or (used == 2 and len(values[0].parts) == 1):
                        continue
            if text == NULL or (name, number) in handled:
                continue
            if field is None:
                if text[0].isalnum() or any(value.valued for value in Field(self.segment, number, text).values):
                    yield f"{name}-{number}"
                continue
            for value in field.values:
                for rest in value.unused():
                    yield f"{name}-{number}" + "".join(f".{part}" for part in rest)
