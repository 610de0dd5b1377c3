"""OperationOutcome as a value, and the one exception that signals failure inside the door.

FHIR R4 operationoutcome.html; issue codes from http://hl7.org/fhir/issue-type.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fhir_server.core import json


class Issue(msgspec.Struct, frozen=True):
    """One finding. ``expression`` is a FHIRPath such as ``Patient.name[0].given[1]``."""

    code: str
    diagnostics: str
    expression: str | None = None
    severity: str = "error"

    def as_json(self) -> dict[str, Any]:
        """Return the OperationOutcome.issue element."""
        issue: dict[str, Any] = {"severity": self.severity, "code": self.code, "diagnostics": self.diagnostics}
        if self.expression is not None:
            issue["expression"] = [self.expression]
        return issue

    @property
    def fails(self) -> bool:
        """True for severities that make the request fail."""
        return self.severity in ("error", "fatal")


def operation_outcome(issues: Sequence[Issue]) -> dict[str, Any]:
    """Return an OperationOutcome resource; with no issues, one that says all is well."""
    found = issues or (Issue("informational", "All OK", severity="information"),)
    return {"resourceType": "OperationOutcome", "issue": [issue.as_json() for issue in found]}


class FhirError(Exception):
    """A request that cannot be fulfilled: HTTP status, issues, and headers such as Retry-After."""

    def __init__(self, status: int, issues: Sequence[Issue], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status}: " + "; ".join(issue.code for issue in issues))
        self.status = status
        self.issues = tuple(issues)
        self.headers = dict(headers or {})

    @classmethod
    def of(cls, status: int, code: str, diagnostics: str, expression: str | None = None) -> "FhirError":
        """Build the common case: one error issue."""
        return cls(status, (Issue(code, diagnostics, expression),))

    def body(self) -> bytes:
        """Return the OperationOutcome as JSON bytes."""
        return json.encode(operation_outcome(self.issues))


def bad_request(diagnostics: str, code: str = "invalid", expression: str | None = None) -> FhirError:
    """400: the request itself is malformed or asks for something unknown."""
    return FhirError.of(400, code, diagnostics, expression)


def not_found(diagnostics: str) -> FhirError:
    """404: no such type, id or version (or none this principal may see)."""
    return FhirError.of(404, "not-found", diagnostics)


def unavailable(diagnostics: str, retry_after_seconds: int = 1) -> FhirError:
    """503 with Retry-After: the store or the server cannot serve now; nothing was written."""
    issue = Issue("transient", diagnostics)
    return FhirError(503, (issue,), {"Retry-After": str(retry_after_seconds)})
