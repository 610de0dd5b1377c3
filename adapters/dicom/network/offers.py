"""What this end offers on an association: for each abstract syntax a service and the right it needs."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from adapters.dicom.network.commands import Command
from adapters.dicom.network.peers import Right

if TYPE_CHECKING:
    from adapters.dicom.network.association import Association

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
#: what every data set that is no image can be encoded in (PS3.5 10)
UNCOMPRESSED: Final = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE})


class Sink(Protocol):
    """Takes a data set while it comes. After ``abandon`` nothing of it is kept."""

    def write(self, chunk: memoryview) -> None:
        """Take the next bytes, which never change."""
        ...

    @property
    def full(self) -> bool:
        """So much waits that no more should be read until ``drain`` returns."""
        ...

    async def drain(self) -> None:
        """Wait until more can be taken."""
        ...

    def abandon(self) -> None:
        """Forget it: the rest will never come."""
        ...


class Request(msgspec.Struct, kw_only=True):
    """A request of the peer. ``dataset`` is encoded in ``transfer_syntax``; it went to ``sink`` if there is one."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str
    command: Command
    dataset: bytes | None = None
    sink: Sink | None = None


#: answers one request, with as many responses as it takes
Service = Callable[["Association", Request], Awaitable[None]]
#: makes what takes the data set of a request; None: its bytes are gathered in ``Request.dataset``
OpenSink = Callable[["Association", Request], Sink | None]


class Offer(msgspec.Struct, frozen=True):
    """A service for an abstract syntax. ``right`` None: for everyone.

    ``sender_right``: with this right the requestor may take the SCP's role, so that we send to it (C-GET, reports).
    Of the transfer syntaxes proposed the first of ``transfer_syntaxes`` is taken; with ``any_syntax`` the first at all
    where there is none.
    """

    serve: Service
    right: Right | None
    sender_right: Right | None = None
    sink: OpenSink | None = None
    transfer_syntaxes: frozenset[str] = UNCOMPRESSED
    any_syntax: bool = False


class Offers:
    """All that is offered. ``others`` is for storage SOP classes, too many to list; it may be None for none."""

    def __init__(
        self, by_class: Mapping[str, Offer], others: Offer | None = None, is_other: Callable[[str], bool] | None = None
    ) -> None:
        self._by_class = by_class
        self._others = others
        self._is_other = is_other

    def find(self, abstract_syntax: str) -> Offer | None:
        """Return what is offered for an abstract syntax."""
        found = self._by_class.get(abstract_syntax)
        if found is None and self._is_other is not None and self._is_other(abstract_syntax):
            return self._others
        return found
