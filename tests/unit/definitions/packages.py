"""Builds small FHIR packages for tests."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any


def manifest(name: str = "test.guide", version: str = "1.0.0", **more: Any) -> dict[str, Any]:
    return {"name": name, "version": version, "fhirVersions": ["4.0.1"], **more}


def tgz(path: Path, files: dict[str, Any]) -> Path:
    """Write a package; ``files`` maps archive names to JSON values or bytes."""
    with tarfile.open(path, "w:gz") as archive:
        for name, value in files.items():
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def folder(path: Path, files: dict[str, Any]) -> Path:
    path.mkdir(parents=True)
    for name, value in files.items():
        (path / name).write_text(json.dumps(value), encoding="utf-8")
    return path


def parameter(code: str, url: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "SearchParameter",
        "url": url or f"http://example.org/SearchParameter/{code}",
        "code": code,
        "base": ["Patient"],
        "type": "string",
        "expression": "Patient.name.text",
        "description": "Nothing\r\n\r\n  special",
        **more,
    }
