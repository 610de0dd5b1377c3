"""The operations of FHIR R4 operations.html: one module each, all of them listed here."""

from fhir_server.interactions.operation import Operation
from fhir_server.operations import everything, lastn, meta, validate, versions

OPERATIONS: tuple[Operation, ...] = (
    everything.OPERATION,
    lastn.OPERATION,
    meta.META,
    meta.META_ADD,
    meta.META_DELETE,
    validate.OPERATION,
    versions.OPERATION,
)
