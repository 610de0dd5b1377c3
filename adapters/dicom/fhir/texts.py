"""Texts of objects as FHIR takes them (R4 datatypes.html#string)."""

import re

_NOT_ALLOWED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def clean(value: str) -> str:
    """Return a text without characters that FHIR does not allow, and without surrounding space."""
    return (value if value.isascii() and value.isprintable() else _NOT_ALLOWED.sub("", value)).strip()
