"""What a DICOMweb request can fail with, and how it is said (PS3.18 8.5)."""

import re
from collections.abc import Mapping

from fhir_server.core.web import WebResponse

_UNSAFE = re.compile(r'[^ -~]|["\\\\]')


class WebError(Exception):
    """A request that cannot be fulfilled. ``text`` names what was received and expected, never a patient's data."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text
        self.headers = dict(headers or {})

    def response(self) -> WebResponse:
        """Return the answer that says it."""
        headers = {"Content-Type": "text/plain; charset=utf-8", **self.headers}
        return WebResponse(status=self.status, headers=headers, body=f"{self.text}\n".encode())


def invalid(text: str) -> WebError:
    """400: the request is malformed."""
    return WebError(400, text)


def not_found(text: str) -> WebError:
    """404: no such study, series, instance, frame or value."""
    return WebError(404, text)


def not_acceptable(text: str) -> WebError:
    """406: nothing that the client accepts can be produced."""
    return WebError(406, text)


def warning(base: str, *texts: str) -> str:
    """Return a Warning header (PS3.18 8.3.4.4, RFC 7234 5.5); what of a text a header cannot hold becomes ``?``."""
    return ", ".join(f'299 {base} "{_UNSAFE.sub("?", text)}"' for text in texts)
