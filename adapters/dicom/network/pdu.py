"""Protocol data units of the Upper Layer: their fields, and their bytes (PS3.8 9.3).

P-DATA-TF is not here: its fragments are read as they come (:mod:`.pdu_stream`) and written by :mod:`.upper_layer`.
"""

import enum
import struct
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from adapters.dicom.network.user_items import UserInformation, decode_user_items, encode_user_items, item, items

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
PDU_HEADER: Final = struct.Struct(">BxL")
_FIXED: Final = struct.Struct(">HH16s16s32x")
_TITLE: Final = 16


class PduType(enum.IntEnum):
    """The type of a PDU (PS3.8 9.3.1)."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class AbortReason(enum.IntEnum):
    """Why the provider aborts (PS3.8 table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER_VALUE = 6


class InvalidPdu(Exception):
    """The bytes are no PDU: ``reason`` is what an A-ABORT says."""

    def __init__(self, text: str, reason: AbortReason = AbortReason.INVALID_PARAMETER_VALUE) -> None:
        super().__init__(text)
        self.reason = reason


class Proposed(msgspec.Struct, frozen=True):
    """A presentation context that a requestor asks for (PS3.8 9.3.2.2). ``id`` 0: the requestor is to number it.

    ``scu`` and ``scp``: the roles the requestor wants (PS3.7 D.3.3.4); only with ``scp`` are they negotiated.
    """

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    scu: bool = True
    scp: bool = False
    id: int = 0


class ContextResult(enum.IntEnum):
    """The answer to a presentation context (PS3.8 table 9-18)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


class ContextAnswer(msgspec.Struct, frozen=True):
    """The acceptor's answer to one presentation context; the transfer syntax counts only if it is accepted."""

    id: int
    result: ContextResult
    transfer_syntax: str


class AssociateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A-ASSOCIATE-RQ (PS3.8 9.3.2)."""

    called: str
    calling: str
    contexts: tuple[Proposed, ...]
    user: UserInformation
    application_context: str = APPLICATION_CONTEXT
    version: int = 1


class AssociateAccept(msgspec.Struct, frozen=True, kw_only=True):
    """A-ASSOCIATE-AC (PS3.8 9.3.3). The titles echo the request's."""

    called: str
    calling: str
    contexts: tuple[ContextAnswer, ...]
    user: UserInformation
    application_context: str = APPLICATION_CONTEXT
    version: int = 1


class AssociateReject(msgspec.Struct, frozen=True):
    """A-ASSOCIATE-RJ (PS3.8 9.3.4, table 9-21)."""

    result: int  # 1 permanent, 2 transient
    source: int  # 1 service-user, 2 service-provider (ACSE), 3 service-provider (presentation)
    reason: int

    def __str__(self) -> str:
        kind = "permanently" if self.result == 1 else "for now"
        return f"refused {kind}: {_REASONS.get((self.source, self.reason), f'reason {self.reason}')}"


_REASONS: Final = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}

APPLICATION_CONTEXT_NOT_SUPPORTED: Final = AssociateReject(1, 1, 2)
CALLING_NOT_RECOGNIZED: Final = AssociateReject(1, 1, 3)
CALLED_NOT_RECOGNIZED: Final = AssociateReject(1, 1, 7)
VERSION_NOT_SUPPORTED: Final = AssociateReject(1, 2, 2)
CONGESTION: Final = AssociateReject(2, 3, 1)
LOCAL_LIMIT_EXCEEDED: Final = AssociateReject(2, 3, 2)


class Abort(msgspec.Struct, frozen=True):
    """A-ABORT (PS3.8 9.3.8). ``source`` 0: the service-user, 2: the service-provider."""

    source: int = 0
    reason: int = 0


class Release(msgspec.Struct, frozen=True):
    """A-RELEASE-RQ, or with ``response`` A-RELEASE-RP (PS3.8 9.3.6, 9.3.7)."""

    response: bool = False


Pdu = AssociateRequest | AssociateAccept | AssociateReject | Release | Abort


def encode(pdu: Pdu) -> bytes:
    """Return the bytes of a PDU."""
    match pdu:
        case AssociateRequest():
            body = b"".join(_proposed(context) for context in pdu.contexts)
            return _associate(PduType.ASSOCIATE_RQ, pdu, body)
        case AssociateAccept():
            body = b"".join(
                item(0x21, bytes((answer.id, 0, answer.result, 0)) + item(0x40, _uid(answer.transfer_syntax)))
                for answer in pdu.contexts
            )
            return _associate(PduType.ASSOCIATE_AC, pdu, body)
        case AssociateReject():
            return PDU_HEADER.pack(PduType.ASSOCIATE_RJ, 4) + bytes((0, pdu.result, pdu.source, pdu.reason))
        case Release():
            return PDU_HEADER.pack(PduType.RELEASE_RP if pdu.response else PduType.RELEASE_RQ, 4) + bytes(4)
        case Abort():
            return PDU_HEADER.pack(PduType.ABORT, 4) + bytes((0, 0, pdu.source, pdu.reason))


def decode(kind: int, body: bytes) -> Pdu:
    """Return the PDU whose variable field is ``body``; raise InvalidPdu."""
    if kind in (PduType.ASSOCIATE_RQ, PduType.ASSOCIATE_AC):
        try:
            return _decode_associate(kind, body)
        except (struct.error, ValueError, IndexError) as error:
            raise InvalidPdu(f"an A-ASSOCIATE PDU that cannot be read: {error}") from None
    if len(body) != 4:
        raise InvalidPdu(f"PDU type {kind} with {len(body)} bytes instead of 4")
    match kind:
        case PduType.ASSOCIATE_RJ:
            return AssociateReject(body[1], body[2], body[3])
        case PduType.RELEASE_RQ | PduType.RELEASE_RP:
            return Release(kind == PduType.RELEASE_RP)
        case PduType.ABORT:
            return Abort(body[2], body[3])
    raise InvalidPdu(f"PDU type {kind}", AbortReason.UNRECOGNIZED_PDU)


def _associate(kind: PduType, pdu: AssociateRequest | AssociateAccept, contexts: bytes) -> bytes:
    fixed = _FIXED.pack(pdu.version, 0, _title(pdu.called), _title(pdu.calling))
    name = item(0x10, _uid(pdu.application_context))
    body = fixed + name + contexts + item(0x50, encode_user_items(pdu.user))
    return PDU_HEADER.pack(kind, len(body)) + body


def _proposed(context: Proposed) -> bytes:
    syntaxes = b"".join(item(0x40, _uid(syntax)) for syntax in context.transfer_syntaxes)
    return item(0x20, bytes((context.id, 0, 0, 0)) + item(0x30, _uid(context.abstract_syntax)) + syntaxes)


def _decode_associate(kind: int, body: bytes) -> AssociateRequest | AssociateAccept:
    version, _, called, calling = _FIXED.unpack_from(body)
    name, user = "", UserInformation()
    proposed: list[Proposed] = []
    answers: list[ContextAnswer] = []
    for number, content in items(body, _FIXED.size):
        if number == 0x10:
            name = uid(content)
        elif number == 0x20:
            proposed.append(_decode_proposed(content))
        elif number == 0x21:
            answers.append(_decode_answer(content))
        elif number == 0x50:
            user = decode_user_items(content)
    titles = {"called": _text(called), "calling": _text(calling)}
    if kind == PduType.ASSOCIATE_AC:
        return AssociateAccept(**titles, contexts=tuple(answers), user=user, application_context=name, version=version)
    _check_ids(proposed)
    contexts = tuple(_with_roles(proposed, user))
    return AssociateRequest(**titles, contexts=contexts, user=user, application_context=name, version=version)


def _check_ids(proposed: Sequence[Proposed]) -> None:
    numbers = [context.id for context in proposed]
    if any(number % 2 == 0 for number in numbers) or len({*numbers}) < len(numbers):
        raise InvalidPdu("presentation context ids must be odd and different (PS3.8 9.3.2.2)")


def _with_roles(proposed: Sequence[Proposed], user: UserInformation) -> Iterator[Proposed]:
    roles = {role.sop_class: role for role in user.roles}
    for context in proposed:
        role = roles.get(context.abstract_syntax)
        yield context if role is None else msgspec.structs.replace(context, scu=role.scu, scp=role.scp)


def _decode_proposed(content: bytes) -> Proposed:
    abstract, syntaxes = "", []
    for number, value in items(content, 4):
        if number == 0x30:
            abstract = uid(value)
        elif number == 0x40:
            syntaxes.append(uid(value))
    return Proposed(abstract, tuple(syntaxes), id=content[0])


def _decode_answer(content: bytes) -> ContextAnswer:
    syntax = next((uid(value) for number, value in items(content, 4) if number == 0x40), "")
    known = content[2] <= ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
    return ContextAnswer(content[0], ContextResult(content[2]) if known else ContextResult.NO_REASON, syntax)


def uid(content: bytes) -> str:
    """Return a UID without padding; raise ValueError if it is none."""
    text = content.rstrip(b"\0 ").decode("ascii")
    if len(text) > 64:
        raise ValueError("a UID of more than 64 characters")
    return text


def _uid(text: str) -> bytes:
    return text.encode("ascii")


def _title(text: str) -> bytes:
    return text.encode("ascii", "replace")[:_TITLE].ljust(_TITLE)


def _text(content: bytes) -> str:
    """Return an AE title: spaces around it mean nothing (PS3.8 table 9-11), nor do the zeros that some send."""
    return content.rstrip(b"\0").decode("latin-1").strip(" ")
