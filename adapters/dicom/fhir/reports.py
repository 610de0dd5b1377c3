"""Which objects carry a report or a document, and the resources made from each."""

from adapters.dicom.fhir import documents, dose, structured
from adapters.dicom.fhir.about import About, Resource
from adapters.dicom.model import Attributes

_SR = "1.2.840.10008.5.1.4.1.1.88."
_DOSE = frozenset(f"{_SR}{number}" for number in ("67", "68", "73"))
_STRUCTURED = frozenset(
    f"{_SR}{number}" for number in ("11", "22", "33", "34", "35", "50", "65", "70", "71", "72", "74")
)
SOP_CLASSES = _STRUCTURED | _DOSE | documents.ENCAPSULATED | {documents.KEY_OBJECTS}


def resources(attributes: Attributes, about: About, *, document: bytes = b"", retrieve: str = "") -> list[Resource]:
    """Return what the object says as resources, each to be put under its ``id``; none for other SOP classes.

    ``attributes`` is the whole object in the DICOM JSON model, ``document`` the value of Encapsulated Document
    (0042,0011), ``retrieve`` the URL of the object. Raise :class:`~adapters.dicom.fhir.content.TooLarge`.
    """
    if about.sop_class in _DOSE:
        return dose.resources(attributes, about)
    if about.sop_class in _STRUCTURED:
        return structured.resources(attributes, about)
    if about.sop_class in documents.ENCAPSULATED:
        return documents.resources(attributes, about, documents.value(attributes, document))
    if about.sop_class == documents.KEY_OBJECTS:
        return documents.key_objects(attributes, about, retrieve)
    return []
