"""What the service can do: WADL (PS3.18 8.9) or JSON."""

from xml.sax.saxutils import escape, quoteattr

import msgspec

from adapters.dicom.web import media
from fhir_server.core.web import WebRequest, WebResponse

_WADL = "application/vnd.sun.wadl+xml"
_DICOM = 'multipart/related; type="application/dicom"'
_JSON = "application/dicom+json"
_PICTURES = "image/jpeg, image/png, image/gif"
_FRAMES = 'multipart/related; type="application/octet-stream"'
#: path -> method -> media types of its answer
_RESOURCES: dict[str, dict[str, str]] = {
    "studies": {"GET": _JSON, "POST": _JSON},
    "series": {"GET": _JSON},
    "instances": {"GET": _JSON},
    "studies/{study}": {"GET": f"{_DICOM}, application/zip", "POST": _JSON, "DELETE": ""},
    "studies/{study}/metadata": {"GET": _JSON},
    "studies/{study}/rendered": {"GET": _PICTURES},
    "studies/{study}/thumbnail": {"GET": _PICTURES},
    "studies/{study}/reject/{code}": {"POST": "application/json"},
    "studies/{study}/restore": {"POST": "application/json"},
    "studies/{study}/series": {"GET": _JSON},
    "studies/{study}/instances": {"GET": _JSON},
    "studies/{study}/series/{series}": {"GET": f"{_DICOM}, application/zip", "DELETE": ""},
    "studies/{study}/series/{series}/metadata": {"GET": _JSON},
    "studies/{study}/series/{series}/rendered": {"GET": _PICTURES},
    "studies/{study}/series/{series}/thumbnail": {"GET": _PICTURES},
    "studies/{study}/series/{series}/reject/{code}": {"POST": "application/json"},
    "studies/{study}/series/{series}/restore": {"POST": "application/json"},
    "studies/{study}/series/{series}/instances": {"GET": _JSON},
    "studies/{study}/series/{series}/instances/{instance}": {"GET": f"{_DICOM}, application/dicom", "DELETE": ""},
    "studies/{study}/series/{series}/instances/{instance}/metadata": {"GET": _JSON},
    "studies/{study}/series/{series}/instances/{instance}/rendered": {"GET": _PICTURES},
    "studies/{study}/series/{series}/instances/{instance}/thumbnail": {"GET": _PICTURES},
    "studies/{study}/series/{series}/instances/{instance}/reject/{code}": {"POST": "application/json"},
    "studies/{study}/series/{series}/instances/{instance}/restore": {"POST": "application/json"},
    "studies/{study}/series/{series}/instances/{instance}/frames/{frames}": {"GET": _FRAMES},
    "studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered": {"GET": _PICTURES},
    "studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail": {"GET": _PICTURES},
    "studies/{study}/series/{series}/instances/{instance}/bulkdata/{path}": {"GET": "application/octet-stream"},
    "wado": {"GET": f"application/dicom, {_PICTURES}"},
}


def capabilities(request: WebRequest) -> WebResponse:
    """Answer with the resources and their methods."""
    choice = media.choose(
        media.accepted(request.header(b"accept")), (media.Offer("application/json"), media.Offer(_WADL))
    )
    if choice.type == _WADL:
        return WebResponse(headers={"Content-Type": _WADL}, body=_wadl(request.base).encode())
    body = {"base": request.base, "resources": _RESOURCES}
    return WebResponse(headers={"Content-Type": "application/json"}, body=msgspec.json.encode(body))


def _wadl(base: str) -> str:
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<application xmlns="http://wadl.dev.java.net/2009/02">',
        f"<resources base={quoteattr(base)}>",
    ]
    for path, methods in _RESOURCES.items():
        lines.append(f"<resource path={quoteattr(path)}>")
        for method, kinds in methods.items():
            shown = "".join(f"<representation mediaType={quoteattr(kind)}/>" for kind in media.split(kinds, ","))
            lines.append(f"<method name={quoteattr(escape(method))}><response>{shown}</response></method>")
        lines.append("</resource>")
    return "\n".join([*lines, "</resources>", "</application>", ""])
