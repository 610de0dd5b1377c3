"""What holds of every answer of the server, whatever was asked."""

import httpx
from lxml import etree


def judge(answer: httpx.Response) -> None:
    """Fail on a server error, or on a refusal that is no OperationOutcome."""
    asked = f"{answer.request.method} {answer.request.url} {dict(answer.request.headers)}"
    if answer.status_code == 503:
        assert "retry-after" in answer.headers, asked
    else:
        assert answer.status_code < 500, f"{asked}: {answer.status_code} {answer.text[:1000]}"
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        kind = answer.headers.get("content-type", "")
        if "xml" in kind:
            root = etree.fromstring(answer.content)
            assert etree.QName(root).localname == "OperationOutcome", asked
        else:
            assert answer.json()["resourceType"] == "OperationOutcome", asked
            assert answer.json()["issue"], asked
