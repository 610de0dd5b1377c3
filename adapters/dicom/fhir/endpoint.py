"""The server's own Endpoints: where images are retrieved (WADO-RS), and where they are looked at (IHE IID)."""

from typing import Any, Final

Tree = dict[str, Any]  # a FHIR resource

_TYPES: Final = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
_ANY: Final = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "any"}]}

WADO: Final = "Endpoint/dicomweb"
VIEWER: Final = "Endpoint/image-viewer"


def endpoints(public: str) -> tuple[Tree, ...]:
    """Return the Endpoints of a server whose address is ``public`` (without a trailing slash)."""
    return (
        _endpoint(WADO, "dicom-wado-rs", "DICOMweb", f"{public}/dicomweb", "application/dicom"),
        _endpoint(VIEWER, "ihe-iid", "Image viewer", f"{public}/viewer", "text/html"),
    )


def _endpoint(name: str, kind: str, title: str, address: str, media_type: str) -> Tree:
    return {
        "resourceType": "Endpoint",
        "id": name.partition("/")[2],
        "status": "active",
        "connectionType": {"system": _TYPES, "code": kind},
        "name": title,
        "payloadType": [_ANY],
        "payloadMimeType": [media_type],
        "address": address,
    }
