"""Which service answers for which SOP class: the one list of what the DIMSE port offers (PS3.4)."""

from collections.abc import Mapping
from typing import Final

from pydicom._uid_dict import UID_dictionary

from adapters.dicom.network.offers import Offer, Offers
from adapters.dicom.services import echo
from adapters.dicom.services.store import Receive, StoreService, Told

#: SOP classes that PS3.4 B.5 and B.6 list; the names say which they are
_STORAGE_WORD: Final = "Storage"
_NOT_STORED: Final = frozenset({"1.2.840.10008.1.20.1", "1.2.840.10008.1.20.2"})  # storage commitment


def storage_classes() -> frozenset[str]:
    """Return the storage SOP classes of the standard, retired ones included."""
    return frozenset(
        uid
        for uid, (name, kind, _, _, _) in UID_dictionary.items()
        if kind == "SOP Class" and _STORAGE_WORD in name and uid not in _NOT_STORED
    )


def transfer_syntaxes() -> frozenset[str]:
    """Return the transfer syntaxes of the standard."""
    return frozenset(uid for uid, (_, kind, _, _, _) in UID_dictionary.items() if kind == "Transfer Syntax")


def offers(
    receive: Receive,
    further: Mapping[str, Offer] | None = None,
    private_classes: frozenset[str] = frozenset(),
    told: Told | None = None,
) -> Offers:
    """Return everything that is offered; ``private_classes`` are stored as the standard's are.

    ``further`` are the services that need more than the archive's way in.
    """
    store = StoreService(receive, told).offer(transfer_syntaxes())
    stored = storage_classes() | private_classes
    return Offers({echo.VERIFICATION: echo.OFFER, **(further or {})}, store, stored.__contains__)
