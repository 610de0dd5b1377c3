"""The stream of PDUs as it is read: whole ones, but the fragments of P-DATA-TF as their bytes come (PS3.8 9.3)."""

from collections.abc import Iterator
from typing import Final

import msgspec

from adapters.dicom.network.pdu import PDU_HEADER, AbortReason, InvalidPdu, PduType

_FIXED_LENGTH: Final = frozenset({PduType.ASSOCIATE_RJ, PduType.RELEASE_RQ, PduType.RELEASE_RP, PduType.ABORT})
_PDV_HEADER: Final = 6


class Whole(msgspec.Struct, frozen=True):
    """A PDU other than P-DATA-TF: its type and its variable field."""

    kind: int
    body: bytes


class Fragment(msgspec.Struct, frozen=True):
    """Bytes of one presentation data value (PS3.8 9.3.5.1, PS3.8 E.2), which may come in several pieces.

    ``end``: these are the last bytes of the value. ``last``: the value is the last of its command or data set.
    """

    context_id: int
    command: bool
    last: bool
    end: bool
    data: memoryview


class PduStream:
    """Takes the bytes of a connection in any pieces. After InvalidPdu nothing more can be read from it.

    ``longest`` is the limit of P-DATA-TF variable fields (0: none), ``longest_other`` that of all others.
    """

    __slots__ = ("_context", "_control", "_in_pdu", "_in_value", "_need", "_rest", "longest", "longest_other")

    def __init__(self, longest: int, longest_other: int) -> None:
        self.longest = longest
        self.longest_other = longest_other
        self._rest = bytearray()  # the beginning of a header or of a whole PDU
        self._need = 0  # bytes that it takes to go on
        self._in_pdu = 0  # bytes of a P-DATA-TF that are still to come
        self._in_value = 0  # of them, in the value that has begun
        self._context = 0
        self._control = 0

    @property
    def between(self) -> bool:
        """Nothing of a PDU has come."""
        return not self._rest and not self._in_pdu

    def feed(self, data: bytes) -> Iterator[Whole | Fragment]:
        """Yield what the bytes bring; raise InvalidPdu, after what came before."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return
            data = bytes(self._rest)
            self._rest.clear()
        view = memoryview(data)
        at, end = 0, len(data)
        while at < end:
            if self._in_value:
                count = min(self._in_value, end - at)
                self._in_value -= count
                self._in_pdu -= count
                yield self._fragment(view[at : at + count])
                at += count
            elif self._in_pdu:
                if end - at < _PDV_HEADER:
                    self._need = _PDV_HEADER
                    break
                self._begin_value(data, at)
                at += _PDV_HEADER
                if not self._in_value:
                    yield self._fragment(view[at:at])
            else:
                if end - at < PDU_HEADER.size:
                    self._check_type(data[at])
                    self._need = PDU_HEADER.size
                    break
                kind, length = PDU_HEADER.unpack_from(data, at)
                self._check(kind, length)
                if kind == PduType.P_DATA_TF:
                    self._in_pdu = length
                    at += PDU_HEADER.size
                    continue
                after = at + PDU_HEADER.size + length
                if after > end:
                    self._need = after - at
                    break
                yield Whole(kind, data[at + PDU_HEADER.size : after])
                at = after
        self._rest += data[at:]

    def _fragment(self, data: memoryview) -> Fragment:
        control = self._control
        return Fragment(self._context, bool(control & 1), bool(control & 2), not self._in_value, data)

    def _begin_value(self, data: bytes, at: int) -> None:
        length = int.from_bytes(data[at : at + 4], "big")
        if length < 2 or length + 4 > self._in_pdu:
            raise InvalidPdu("a presentation data value that does not fit in its PDU")
        left = self._in_pdu - length - 4
        if 0 < left < _PDV_HEADER:
            raise InvalidPdu("bytes after the last presentation data value of a PDU")
        self._context, self._control = data[at + 4], data[at + 5]
        self._in_value = length - 2
        self._in_pdu -= _PDV_HEADER

    def _check_type(self, kind: int) -> None:
        if not PduType.ASSOCIATE_RQ <= kind <= PduType.ABORT:
            raise InvalidPdu(f"PDU type {kind:02X}", AbortReason.UNRECOGNIZED_PDU)

    def _check(self, kind: int, length: int) -> None:
        self._check_type(kind)
        if kind == PduType.P_DATA_TF:
            most = self.longest
            if length < _PDV_HEADER or (most and length > most + _PDV_HEADER):  # some count without the headers
                raise InvalidPdu(f"a P-DATA-TF PDU of {length} bytes; the most is {most}")
        elif length != 4 if kind in _FIXED_LENGTH else length > self.longest_other:
            raise InvalidPdu(f"a PDU of type {kind} with {length} bytes")
