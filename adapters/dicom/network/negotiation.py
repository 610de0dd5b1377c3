"""How an acceptor answers: whom it hears, and which presentation contexts it takes (PS3.8 7.1.1, PS3.7 D.3)."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from adapters.dicom.network.offers import Offer, Offers
from adapters.dicom.network.pdu import (
    APPLICATION_CONTEXT,
    APPLICATION_CONTEXT_NOT_SUPPORTED,
    VERSION_NOT_SUPPORTED,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ContextAnswer,
    ContextResult,
    Proposed,
)
from adapters.dicom.network.peers import Peer
from adapters.dicom.network.user_items import Role, UserInformation

_WINDOW: Final = 8  # operations that a peer may have under way


class PresentationContext(msgspec.Struct, frozen=True):
    """An accepted presentation context. ``scu`` and ``scp`` are the roles of this end."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    scu: bool
    scp: bool


class Agreement(msgspec.Struct, frozen=True):
    """What was agreed: the answer to send, and what follows from it for this end."""

    answer: AssociateAccept
    contexts: Mapping[int, PresentationContext]
    offers: Mapping[int, Offer]


def refusal(request: AssociateRequest) -> AssociateReject | None:
    """Return why an association cannot be, as far as the protocol alone tells."""
    if not request.version & 1:
        return VERSION_NOT_SUPPORTED
    if request.application_context != APPLICATION_CONTEXT:
        return APPLICATION_CONTEXT_NOT_SUPPORTED
    return None


def agree(request: AssociateRequest, offers: Offers, peer: Peer, max_length: int) -> Agreement:
    """Answer every context that a peer proposes."""
    answers: list[ContextAnswer] = []
    contexts: dict[int, PresentationContext] = {}
    found: dict[int, Offer] = {}
    asked = {role.sop_class for role in request.user.roles}
    roles: dict[str, Role] = {}
    for proposed in request.contexts:
        offer = offers.find(proposed.abstract_syntax)
        scp, scu = _roles(proposed, offer, peer)
        result, syntax = _result(proposed, offer, either=scp or scu)
        answers.append(ContextAnswer(proposed.id, result, syntax))
        if result is not ContextResult.ACCEPTANCE or offer is None:
            continue
        contexts[proposed.id] = PresentationContext(proposed.id, proposed.abstract_syntax, syntax, scu=scu, scp=scp)
        found[proposed.id] = offer
        if proposed.abstract_syntax in asked:
            roles[proposed.abstract_syntax] = Role(proposed.abstract_syntax, scu=scp, scp=scu)
    user = UserInformation(
        max_length=max_length,
        window=_window(request.user.window),
        roles=tuple(roles.values()),
        identity_answer=b"" if request.user.identity is not None and request.user.identity.wants_answer else None,
    )
    answer = AssociateAccept(called=request.called, calling=request.calling, contexts=tuple(answers), user=user)
    return Agreement(answer, contexts, found)


def agreed(request: AssociateRequest, answer: AssociateAccept) -> Mapping[int, PresentationContext]:
    """Return the contexts that the acceptor took, from the requestor's side. Without an answer to roles: SCU only."""
    proposed = {context.id: context for context in request.contexts}
    roles = {role.sop_class: role for role in answer.user.roles}
    contexts: dict[int, PresentationContext] = {}
    for one in answer.contexts:
        asked = proposed.get(one.id)
        if asked is None or one.result is not ContextResult.ACCEPTANCE:
            continue
        if one.transfer_syntax not in asked.transfer_syntaxes:
            continue
        role = roles.get(asked.abstract_syntax)
        scu = True if role is None else role.scu and asked.scu
        scp = role is not None and role.scp and asked.scp
        contexts[one.id] = PresentationContext(one.id, asked.abstract_syntax, one.transfer_syntax, scu=scu, scp=scp)
    return contexts


def numbered(contexts: Sequence[Proposed]) -> tuple[Proposed, ...]:
    """Return the contexts with odd numbers in order."""
    return tuple(msgspec.structs.replace(context, id=2 * place + 1) for place, context in enumerate(contexts))


def requested_roles(contexts: Sequence[Proposed]) -> tuple[Role, ...]:
    """Return the role items that a requestor needs: for each SOP class whose SCP it wants to be."""
    wanted = {context.abstract_syntax: Role(context.abstract_syntax, context.scu, context.scp) for context in contexts}
    return tuple(role for role in wanted.values() if role.scp)


def _roles(proposed: Proposed, offer: Offer | None, peer: Peer) -> tuple[bool, bool]:
    """Return whether we are SCP (the peer may ask us), and SCU (we may ask it)."""
    if offer is None:
        return False, False
    scp = proposed.scu and peer.may(offer.right)
    scu = proposed.scp and offer.sender_right is not None and peer.may(offer.sender_right)
    return scp, scu


def _result(proposed: Proposed, offer: Offer | None, *, either: bool) -> tuple[ContextResult, str]:
    first = proposed.transfer_syntaxes[0] if proposed.transfer_syntaxes else ""
    if offer is None or not proposed.abstract_syntax:
        return ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, first
    if not either:
        return ContextResult.USER_REJECTION, first
    if not first:
        return ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, first
    known = (syntax for syntax in proposed.transfer_syntaxes if syntax in offer.transfer_syntaxes)
    chosen = next(known, first if offer.any_syntax else "")
    if not chosen:
        return ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, first
    return ContextResult.ACCEPTANCE, chosen


def _window(asked: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return how many operations may be under way: the requestor's, and ours (PS3.7 D.3.3.3)."""
    if asked is None:
        return None
    invoked, _ = asked
    return (min(invoked, _WINDOW) or _WINDOW, 1)
