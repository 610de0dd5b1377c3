"""User information of an association: its sub-items (PS3.7 D.3.3, PS3.8 D)."""

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from adapters.dicom.dataset.meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_ITEM: Final = struct.Struct(">BxH")
_LENGTH: Final = struct.Struct(">H")
_PAIR: Final = struct.Struct(">HH")
_LONG: Final = struct.Struct(">L")


class Role(msgspec.Struct, frozen=True):
    """SCP/SCU role selection of one SOP class: which roles the requestor may take (PS3.7 D.3.3.4)."""

    sop_class: str
    scu: bool
    scp: bool


class Extended(msgspec.Struct, frozen=True):
    """SOP class extended negotiation: what the service makes of the bytes (PS3.7 D.3.3.5)."""

    sop_class: str
    information: bytes


class CommonExtended(msgspec.Struct, frozen=True):
    """SOP class common extended negotiation (PS3.7 D.3.3.6)."""

    sop_class: str
    service_class: str
    related: tuple[str, ...] = ()


class Identity(msgspec.Struct, frozen=True):
    """User identity (PS3.7 D.3.3.7). ``kind`` 1: user name, 2: with passcode, 3: Kerberos, 4: SAML, 5: JWT."""

    kind: int
    primary: bytes
    secondary: bytes = b""
    wants_answer: bool = False


class UserInformation(msgspec.Struct, frozen=True, kw_only=True):
    """The user information item. ``max_length`` is the longest P-DATA-TF variable field taken, 0: any."""

    max_length: int = 0
    implementation_class: str = IMPLEMENTATION_CLASS_UID
    implementation_version: str = IMPLEMENTATION_VERSION_NAME
    window: tuple[int, int] | None = None  # operations invoked, performed; None: one each (PS3.7 D.3.3.3)
    roles: tuple[Role, ...] = ()
    extended: tuple[Extended, ...] = ()
    common: tuple[CommonExtended, ...] = ()
    identity: Identity | None = None
    identity_answer: bytes | None = None


def item(number: int, content: bytes) -> bytes:
    """Return an item or sub-item."""
    return _ITEM.pack(number, len(content)) + content


def items(content: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield the type and content of each item; raise ValueError where one is cut off."""
    at, end = start, len(content)
    while at < end:
        if end - at < _ITEM.size:
            raise ValueError("an item is cut off")
        number, length = _ITEM.unpack_from(content, at)
        at += _ITEM.size
        if length > end - at:
            raise ValueError(f"item {number:02X} is longer than what holds it")
        yield number, content[at : at + length]
        at += length


def encode_user_items(user: UserInformation) -> bytes:
    """Return the sub-items of the user information item."""
    parts = [item(0x51, _LONG.pack(user.max_length)), item(0x52, user.implementation_class.encode("ascii"))]
    if user.window is not None:
        parts.append(item(0x53, _PAIR.pack(*user.window)))
    parts += [item(0x54, _text(role.sop_class) + bytes((role.scu, role.scp))) for role in user.roles]
    if user.implementation_version:
        parts.append(item(0x55, user.implementation_version.encode("ascii", "replace")[:16]))
    parts += [item(0x56, _text(one.sop_class) + one.information) for one in user.extended]
    for common in user.common:
        related = b"".join(_text(one) for one in common.related)
        content = _text(common.sop_class) + _text(common.service_class) + _LENGTH.pack(len(related)) + related
        parts.append(item(0x57, content))
    if (identity := user.identity) is not None:
        head = bytes((identity.kind, identity.wants_answer))
        fields = _counted(identity.primary) + _counted(identity.secondary)
        parts.append(item(0x58, head + fields))
    if user.identity_answer is not None:
        parts.append(item(0x59, _counted(user.identity_answer)))
    return b"".join(parts)


def decode_user_items(content: bytes) -> UserInformation:
    """Return what the sub-items say; those that are not known mean nothing. Raise ValueError or struct.error."""
    found: dict[str, object] = {"implementation_class": "", "implementation_version": ""}
    roles, extended, common = [], [], []
    for number, value in items(content):
        match number:
            case 0x51:
                (found["max_length"],) = _LONG.unpack(value)
            case 0x52:
                found["implementation_class"] = value.rstrip(b"\0 ").decode("latin-1")
            case 0x53:
                found["window"] = _PAIR.unpack(value)
            case 0x54:
                name, rest = _take(value)
                roles.append(Role(_name(name), bool(rest[0]), bool(rest[1])))
            case 0x55:
                found["implementation_version"] = value.rstrip(b"\0 ").decode("latin-1")
            case 0x56:
                name, rest = _take(value)
                extended.append(Extended(_name(name), rest))
            case 0x57:
                common.append(_common(value))
            case 0x58:
                primary, rest = _take(value[2:])
                found["identity"] = Identity(value[0], primary, _take(rest)[0], bool(value[1]))
            case 0x59:
                found["identity_answer"] = _take(value)[0]
    lists = {"roles": tuple(roles), "extended": tuple(extended), "common": tuple(common)}
    return msgspec.convert({**found, **lists}, UserInformation)


def _common(value: bytes) -> CommonExtended:
    sop_class, rest = _take(value)
    service_class, rest = _take(rest)
    names, _ = _take(rest)
    related = []
    while names:
        name, names = _take(names)
        related.append(_name(name))
    return CommonExtended(_name(sop_class), _name(service_class), tuple(related))


def _take(content: bytes) -> tuple[bytes, bytes]:
    """Return the field that starts with its length, and what follows it."""
    (length,) = _LENGTH.unpack_from(content)
    if length > len(content) - 2:
        raise ValueError("a field is longer than its item")
    return content[2 : 2 + length], content[2 + length :]


def _counted(content: bytes) -> bytes:
    return _LENGTH.pack(len(content)) + content


def _text(text: str) -> bytes:
    return _counted(text.encode("ascii"))


def _name(content: bytes) -> str:
    return content.rstrip(b"\0 ").decode("ascii")
