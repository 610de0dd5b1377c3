"""The rows of the services: scheduled studies, performed procedure steps, storage commitments."""

from fhir_server.core.tables import TableLayout

SCHEDULED = "dicom.scheduled"
STEP = "dicom.step"
COMMITMENT = "dicom.commitment"

LAYOUTS = (
    TableLayout(SCHEDULED),
    TableLayout(STEP, (("request",), ("study",))),
    TableLayout(COMMITMENT, (("state", "due"),)),
)  # fmt: skip
