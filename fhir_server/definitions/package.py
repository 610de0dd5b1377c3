"""Reads FHIR NPM packages: a ``.tgz`` file or an unpacked folder (FHIR package specification).

Nothing is unpacked to disk. Names that point outside the package, links and oversized content are refused.
"""

import hashlib
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import msgspec

from fhir_server.definitions.model import Package

FHIR_RELEASE = "4.0"
MAX_FILE_BYTES = 128 * 1024 * 1024
MAX_PACKAGE_BYTES = 2 * 1024 * 1024 * 1024


class PackageError(ValueError):
    """A package cannot be used; the message names the package and says why."""


class _Manifest(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    version: str
    dependencies: Mapping[str, str] = {}
    canonical: str = ""
    fhir_versions: tuple[str, ...] = ()


class Missing(msgspec.Struct, frozen=True):
    """A dependency that is not loaded; ``loaded`` is the other version that is, or ""."""

    package: str
    name: str
    version: str
    loaded: str = ""

    def __str__(self) -> str:
        instead = f"version {self.loaded} is loaded instead" if self.loaded else "it is not loaded"
        return f"{self.package} needs {self.name} {self.version}: {instead}"


def describe(path: Path) -> Package:
    """Return name, version, hash and dependencies of the package at ``path``."""
    manifest: _Manifest | None = None
    for name, content in _all_files(path):
        if name == "package.json":
            manifest = _manifest(path, content)
            break
    if manifest is None:
        raise PackageError(f"{path} is not a FHIR package: it has no package/package.json")
    return Package(manifest.name, manifest.version, sha256(path), manifest.dependencies, manifest.canonical)


def files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the resource files (name, content) at the top of the package folder."""
    for name, content in _all_files(path):
        if name.endswith(".json") and name != "package.json" and not name.startswith("."):
            yield name, content


def folder_file(path: Path, name: str) -> bytes:
    """Return one file of a package folder."""
    for file in _folder_files(path):
        if file.name == name:
            return file.read_bytes()
    raise PackageError(f"{path} has no {name}")


def sha256(path: Path) -> str:
    """Return the hash of a ``.tgz``'s bytes, or of a folder's file names and contents."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in _folder_files(path):
            digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()
    if not path.exists():
        raise PackageError(f"there is no package at {path}")
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def missing_dependencies(packages: Iterable[Package]) -> tuple[Missing, ...]:
    """Return every dependency that the given packages declare and that is not among them."""
    versions = {package.name: package.version for package in packages}
    return tuple(
        Missing(f"{package.name} {package.version}", name, version, versions.get(name, ""))
        for package in packages
        for name, version in package.dependencies.items()
        if not _satisfies(versions.get(name), version)
    )


def in_dependency_order(described: Mapping[Path, Package]) -> tuple[Path, ...]:
    """Return the paths so that each package comes after those it depends on (otherwise in the given order)."""
    by_name = {package.name: path for path, package in described.items()}
    ordered: dict[Path, None] = {}

    def place(path: Path, above: frozenset[Path]) -> None:
        if path in ordered or path in above:
            return
        for dependency in described[path].dependencies:
            if dependency in by_name:
                place(by_name[dependency], above | {path})
        ordered[path] = None

    for path in described:
        place(path, frozenset())
    return tuple(ordered)


def _satisfies(loaded: str | None, wanted: str) -> bool:
    if loaded is None:
        return False
    if wanted in ("", "*", "latest", "current", "dev") or wanted == loaded:
        return True
    parts, have = wanted.split("."), loaded.split(".")
    if parts[-1] in ("x", "*"):
        return have[: len(parts) - 1] == parts[:-1]
    return False


def _manifest(path: Path, content: bytes) -> _Manifest:
    try:
        manifest = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"), type=_Manifest)
    except msgspec.DecodeError as error:
        raise PackageError(f"{path}: package.json is not a package manifest: {error}") from None
    stated = manifest.fhir_versions
    if stated and not any(version.startswith(FHIR_RELEASE) for version in stated):
        raise PackageError(f"{path} is for FHIR {', '.join(stated)}; this server needs packages for FHIR 4.0.1 (R4)")
    return manifest


def _all_files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in _folder_files(path):
            yield file.name, file.read_bytes()
        return
    if not path.exists():
        raise PackageError(f"there is no package at {path}")
    try:
        with tarfile.open(path, "r|gz") as archive:
            yield from _archive_files(path, archive)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise PackageError(f"{path} is not a readable .tgz package: {error}") from None


def _archive_files(path: Path, archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    total = 0
    for member in archive:
        parts = PurePosixPath(member.name).parts
        if member.name.startswith("/") or ".." in parts:
            raise PackageError(f"{path} holds a file outside its folder: {member.name[:200]!r}")
        total += member.size
        if member.size > MAX_FILE_BYTES or total > MAX_PACKAGE_BYTES:
            raise PackageError(f"{path} is too large: {member.name[:200]!r} passes the limit")
        if not member.isfile() or len(parts) != 2 or parts[0] != "package":
            continue
        opened = archive.extractfile(member)
        if opened is not None:
            yield parts[1], opened.read()


def _folder_files(path: Path) -> list[Path]:
    folder = path / "package" if (path / "package" / "package.json").exists() else path
    inside = folder.resolve()
    found = sorted(file for file in folder.iterdir() if file.suffix == ".json" and file.is_file())
    for file in found:
        if file.resolve().parent != inside:
            raise PackageError(f"{path} holds a link that leads outside its folder: {file.name!r}")
    return found
