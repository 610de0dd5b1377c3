"""Command sets of DIMSE messages: group 0000, Implicit VR Little Endian (PS3.7 6.3, 9.3, 10.3, E)."""

import enum
import struct
from typing import Final

import msgspec


class Field(enum.IntEnum):
    """The kind of a message: Command Field (0000,0100) (PS3.7 E.1)."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_GET_RQ = 0x0010
    C_GET_RSP = 0x8010
    C_FIND_RQ = 0x0020
    C_FIND_RSP = 0x8020
    C_MOVE_RQ = 0x0021
    C_MOVE_RSP = 0x8021
    C_ECHO_RQ = 0x0030
    C_ECHO_RSP = 0x8030
    N_EVENT_REPORT_RQ = 0x0100
    N_EVENT_REPORT_RSP = 0x8100
    N_GET_RQ = 0x0110
    N_GET_RSP = 0x8110
    N_SET_RQ = 0x0120
    N_SET_RSP = 0x8120
    N_ACTION_RQ = 0x0130
    N_ACTION_RSP = 0x8130
    N_CREATE_RQ = 0x0140
    N_CREATE_RSP = 0x8140
    N_DELETE_RQ = 0x0150
    N_DELETE_RSP = 0x8150
    C_CANCEL_RQ = 0x0FFF


class Status(enum.IntEnum):
    """Statuses that services share (PS3.7 C, PS3.4 B.2.3, C.4)."""

    SUCCESS = 0x0000
    CANCEL = 0xFE00
    PENDING = 0xFF00
    PENDING_WARNING = 0xFF01
    NO_SUCH_ATTRIBUTE = 0x0105
    INVALID_ATTRIBUTE_VALUE = 0x0106
    ATTRIBUTE_LIST_ERROR = 0x0107
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_INSTANCE = 0x0111
    NO_SUCH_INSTANCE = 0x0112
    NO_SUCH_EVENT_TYPE = 0x0113
    NO_SUCH_ARGUMENT = 0x0114
    INVALID_ARGUMENT_VALUE = 0x0115
    INVALID_INSTANCE = 0x0117
    NO_SUCH_SOP_CLASS = 0x0118
    CLASS_INSTANCE_CONFLICT = 0x0119
    MISSING_ATTRIBUTE = 0x0120
    MISSING_ATTRIBUTE_VALUE = 0x0121
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NO_SUCH_ACTION_TYPE = 0x0123
    NOT_AUTHORIZED = 0x0124
    DUPLICATE_INVOCATION = 0x0210
    UNRECOGNIZED_OPERATION = 0x0211
    MISTYPED_ARGUMENT = 0x0212
    RESOURCE_LIMITATION = 0x0213
    OUT_OF_RESOURCES = 0xA700
    MOVE_DESTINATION_UNKNOWN = 0xA801
    DATA_SET_DOES_NOT_MATCH = 0xA900
    COERCION = 0xB000
    CANNOT_UNDERSTAND = 0xC000


class InvalidCommand(Exception):
    """The bytes are no command set."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """The elements of a command set; None and "" stand for what is not there.

    ``sop_class`` and ``instance`` are the Affected or the Requested SOP Class and Instance UID, whichever the message
    has. ``answers`` is Message ID Being Responded To (0000,0120). ``has_data`` tells whether a data set follows; what
    sends a message sets it.
    """

    field: int
    message_id: int | None = None
    answers: int | None = None
    sop_class: str = ""
    instance: str = ""
    has_data: bool = False
    status: int | None = None
    priority: int | None = None  # 0 medium, 1 high, 2 low
    destination: str = ""  # Move Destination
    originator: str = ""  # Move Originator Application Entity Title
    originator_id: int | None = None  # Move Originator Message ID
    event_type: int | None = None
    action_type: int | None = None
    attributes: tuple[int, ...] | None = None  # Attribute Identifier List
    offending: tuple[int, ...] | None = None  # Offending Element
    comment: str = ""  # Error Comment, 64 characters
    error_id: int | None = None
    remaining: int | None = None  # sub-operations
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None

    @property
    def is_response(self) -> bool:
        """This answers a request."""
        return bool(self.field & 0x8000)

    @property
    def pending(self) -> bool:
        """More responses follow."""
        return self.status in (Status.PENDING, Status.PENDING_WARNING)


def answer(request: Command, status: int = Status.SUCCESS, **elements: object) -> Command:
    """Return the response to a request, with its message id, SOP class and instance, and further elements."""
    given: dict[str, object] = {"sop_class": request.sop_class, "instance": request.instance, **elements}
    return msgspec.structs.replace(
        Command(field=request.field | 0x8000, answers=request.message_id, status=int(status)), **given
    )


#: requests whose SOP class and instance are the Requested ones (PS3.7 10.1)
_REQUESTED: Final = frozenset({Field.N_GET_RQ, Field.N_SET_RQ, Field.N_ACTION_RQ, Field.N_DELETE_RQ})
_NO_DATA: Final = 0x0101
_HEADER: Final = struct.Struct("<HHL")
_SHORT: Final = struct.Struct("<HHLH")
_GROUP_LENGTH: Final = struct.Struct("<HHLL")

#: element -> name and VR, in the order of tags (PS3.7 E.1)
_ELEMENTS: Final = (
    (0x0002, "sop_class", "UI"),
    (0x0003, "sop_class", "UI"),
    (0x0100, "field", "US"),
    (0x0110, "message_id", "US"),
    (0x0120, "answers", "US"),
    (0x0600, "destination", "AE"),
    (0x0700, "priority", "US"),
    (0x0800, "has_data", "US"),
    (0x0900, "status", "US"),
    (0x0901, "offending", "AT"),
    (0x0902, "comment", "LO"),
    (0x0903, "error_id", "US"),
    (0x1000, "instance", "UI"),
    (0x1001, "instance", "UI"),
    (0x1002, "event_type", "US"),
    (0x1005, "attributes", "AT"),
    (0x1008, "action_type", "US"),
    (0x1020, "remaining", "US"),
    (0x1021, "completed", "US"),
    (0x1022, "failed", "US"),
    (0x1023, "warning", "US"),
    (0x1030, "originator", "AE"),
    (0x1031, "originator_id", "US"),
)
_BY_TAG: Final = {tag: (name, vr) for tag, name, vr in _ELEMENTS}
_AFFECTED_TAGS: Final = frozenset({0x0002, 0x1000})
_REQUESTED_TAGS: Final = frozenset({0x0003, 0x1001})


def encode(command: Command) -> bytes:
    """Return the bytes of a command set, with its group length."""
    skipped = _AFFECTED_TAGS if command.field in _REQUESTED else _REQUESTED_TAGS
    parts: list[bytes] = []
    for tag, name, vr in _ELEMENTS:
        value = getattr(command, name)
        if value is None or value == "" or tag in skipped:
            continue
        if vr == "US":
            number = (1 if value else _NO_DATA) if name == "has_data" else value
            parts.append(_SHORT.pack(0, tag, 2, number))
        elif vr == "AT":
            content = b"".join(struct.pack("<HH", one >> 16, one & 0xFFFF) for one in value)
            parts.append(_HEADER.pack(0, tag, len(content)) + content)
        else:
            parts.append(_text(tag, value, b"\0" if vr == "UI" else b" "))
    return _with_length(b"".join(parts))


def store_response(message_id: int, sop_class: str, instance: str) -> bytes:
    """Return the command set of a C-STORE-RSP of success: the answer that is sent more than any other."""
    uids = (_text(0x0002, sop_class, b"\0"), _text(0x1000, instance, b"\0"))
    return _with_length(uids[0] + _STORED_FIELD + _SHORT.pack(0, 0x0120, 2, message_id) + _STORED_END + uids[1])


_STORED_FIELD: Final = _SHORT.pack(0, 0x0100, 2, Field.C_STORE_RSP)
_STORED_END: Final = _SHORT.pack(0, 0x0800, 2, _NO_DATA) + _SHORT.pack(0, 0x0900, 2, Status.SUCCESS)


def decode(content: bytes) -> Command:
    """Return what a command set says; elements that are not known mean nothing. Raise InvalidCommand."""
    found: dict[str, object] = {}
    at, end = 0, len(content)
    while at < end:
        if end - at < 8:
            raise InvalidCommand("an element is cut off")
        group, tag, length = _HEADER.unpack_from(content, at)
        at += 8
        if group != 0 or length > end - at:
            raise InvalidCommand(f"({group:04X},{tag:04X}) of {length} bytes in a command set with {end - at} left")
        known = _BY_TAG.get(tag)
        if known is not None:
            value = _value(known[1], content[at : at + length], tag)
            if value is not None:
                found[known[0]] = value
        at += length
    if "field" not in found:
        raise InvalidCommand("no Command Field (0000,0100)")
    found["has_data"] = found.get("has_data", _NO_DATA) != _NO_DATA
    return Command(**found)  # type: ignore[arg-type]  # each value was read by its element's VR


def _value(vr: str, content: bytes, tag: int) -> object:
    if vr == "US":
        if len(content) < 2:
            if not content:
                return None
            raise InvalidCommand(f"(0000,{tag:04X}) of 1 byte")
        return content[0] | content[1] << 8
    if vr == "AT":
        numbers = struct.unpack(f"<{len(content) // 4 * 2}H", content[: len(content) // 4 * 4])
        return tuple(group << 16 | element for group, element in zip(numbers[::2], numbers[1::2], strict=True))
    return content.decode("latin-1").strip(" \0")


def _text(tag: int, text: str, padding: bytes) -> bytes:
    value = text.encode("latin-1", "replace")
    if len(value) & 1:
        value += padding
    return _HEADER.pack(0, tag, len(value)) + value


def _with_length(body: bytes) -> bytes:
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body
