"""DIMSE messages out of fragments: a command set, then pieces of its data set as they come (PS3.7 6.3, PS3.8 E)."""

from collections.abc import Iterator
from typing import Final

import msgspec

from adapters.dicom.network.commands import Command, InvalidCommand, decode
from adapters.dicom.network.pdu_stream import Fragment

_LONGEST_COMMAND: Final = 64 * 1024


class InvalidMessage(Exception):
    """Fragments that make no message."""


class Begun(msgspec.Struct, frozen=True):
    """A message has begun: its command set is whole. :class:`Ended` follows, pieces of its data set before it."""

    context_id: int
    command: Command


class Piece(msgspec.Struct, frozen=True):
    """Bytes of the data set of the message that has begun."""

    data: memoryview


class Ended(msgspec.Struct, frozen=True):
    """The message is whole."""


class Messages:
    """Puts together what one peer sends; messages do not overlap (PS3.7 6.3.1)."""

    __slots__ = ("_command", "_context", "_data")

    def __init__(self) -> None:
        self._command = bytearray()
        self._context = 0  # of what has begun
        self._data = False  # a data set is expected

    @property
    def between(self) -> bool:
        """No message has begun."""
        return not self._context

    def take(self, fragment: Fragment) -> Iterator[Begun | Piece | Ended]:
        """Yield what the fragment brings; raise InvalidMessage."""
        if self._context and fragment.context_id != self._context:
            raise InvalidMessage("a fragment of another presentation context within a message")
        if fragment.command == self._data:
            raise InvalidMessage("a command where a data set is expected" if self._data else "a data set on its own")
        if self._data:
            if len(fragment.data):
                yield Piece(fragment.data)
            if fragment.last and fragment.end:
                self._context, self._data = 0, False
                yield Ended()
            return
        self._context = fragment.context_id
        self._command += fragment.data
        if len(self._command) > _LONGEST_COMMAND:
            raise InvalidMessage("a command set that is too long")
        if not (fragment.last and fragment.end):
            return
        try:
            command = decode(bytes(self._command))
        except InvalidCommand as error:
            raise InvalidMessage(str(error)) from None
        self._command.clear()
        self._data = command.has_data
        yield Begun(fragment.context_id, command)
        if not command.has_data:
            self._context = 0
            yield Ended()
