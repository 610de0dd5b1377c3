"""Logical ids of resources that several parts write: made from UIDs, so that none has to be searched for."""

import uuid

_SPACE = uuid.UUID("b3a0a6f2-1c86-5d0a-9d3b-8d5f0f3c8e11")


def imaging_study_id(study: str) -> str:
    """Return the id of the ImagingStudy of a Study Instance UID."""
    return str(uuid.uuid5(_SPACE, f"study {study}"))


def procedure_id(step: str) -> str:
    """Return the id of the Procedure of a performed procedure step's SOP Instance UID."""
    return str(uuid.uuid5(_SPACE, f"step {step}"))
