"""The orders (ServiceRequest) that a study was made for: by the worklist entry, else by accession number."""

from collections.abc import Sequence
from typing import Any, Final

from adapters.context import Context
from adapters.dicom.fhir.codes import items, text
from adapters.dicom.model import Attributes
from adapters.dicom.services import door
from adapters.dicom.services.worklist import scheduled_request

_MOST: Final = 10
_ENDED: Final = ("revoked", "entered-in-error")


def accessions(study: Attributes, series: Sequence[Attributes]) -> tuple[str, ...]:
    """Return the accession numbers (0008,0050) of a study: its own, and of its request sequences."""
    found = [text(study, "00080050")]
    found += [text(one, "00080050") for one in items(study, "0040A370")]
    found += [text(one, "00080050") for attributes in series for one in items(attributes, "00400275")]
    return tuple(dict.fromkeys(one for one in found if one))[:_MOST]


async def orders(context: Context, study: str, numbers: Sequence[str], subject: str) -> tuple[str, ...]:
    """Return the references of the requests; an accession number of another patient's request does not count."""
    found = [one] if (one := await scheduled_request(context.tables, study)) else []
    if numbers and subject:
        values = [door.escaped(number) for number in numbers]
        trees = await door.search_any(context, "ServiceRequest", "identifier", values)
        found += [f"ServiceRequest/{tree['id']}" for tree in trees if _is_meant(tree, subject, numbers)]
    return tuple(sorted(dict.fromkeys(found)))[:_MOST]


def _is_meant(tree: dict[str, Any], subject: str, numbers: Sequence[str]) -> bool:  # a FHIR resource
    return (
        tree.get("subject", {}).get("reference") == subject
        and tree.get("status") not in _ENDED
        and any(one.get("value") in numbers for one in tree.get("identifier", ()))
    )
