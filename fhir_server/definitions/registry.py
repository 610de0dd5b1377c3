"""The definitions a server runs on: the core package, added packages, and their digest cached on disk.

The cached digest is named for the hashes of the packages and of the code that made it, so that it is either right
or not found.
"""

import contextlib
import hashlib
import io
import os
import re
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from fhir_server.core import json
from fhir_server.definitions import digest, model, obtain, package, published, shared, value_sets
from fhir_server.definitions.model import Definitions, Package, SearchParameter

FORMAT = 1
KEPT_DIGESTS = 8
INDEX_FILE = "packages.json"
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\Z")
_MADE_BY = (digest, model, package, published, shared, value_sets)


class AddedPackage(msgspec.Struct, frozen=True):
    """A package kept in a data folder."""

    name: str
    version: str
    sha256: str
    file: str


class PackageLine(msgspec.Struct, frozen=True):
    """What a list of packages shows; ``missing`` are readable sentences about absent dependencies."""

    name: str
    version: str
    canonical: str
    sha256: str
    missing: tuple[str, ...]


def load(cache: Path, packages: Sequence[Path] = ()) -> Definitions:
    """Return the definitions of the core package in ``cache`` and of further packages.

    Digests them if no cached digest fits. Raises :class:`package.PackageError` for packages that cannot be read.
    """
    core = cache / obtain.CORE_FILE
    if not core.exists():
        raise package.PackageError(f"the core package is not at {core}: obtain it first")
    paths = [core, *packages]
    kept = cache / f"definitions-{_key(paths)}.msgpack"
    found = _read(kept)
    if found is None:
        described = {path: package.describe(path) for path in paths}
        found = digest.digest(package.in_dependency_order(described))
        _replace(kept, msgspec.msgpack.encode(found))
        _forget_old(cache)
    return shared.share(found)


def with_parameters(definitions: Definitions, extra: Sequence[SearchParameter]) -> Definitions:
    """Return the definitions with further parameters (one with a known URL replaces it) and the next generation."""
    by_url = {parameter.url: parameter for parameter in definitions.search_parameters}
    by_url.update((parameter.url, parameter) for parameter in extra)
    return msgspec.structs.replace(
        definitions, search_parameters=tuple(by_url.values()), generation=definitions.generation + 1
    )


def load_apart(cache: Path, packages: Sequence[Path] = ()) -> Definitions:
    """Return the definitions of all packages, but of search parameters and compartments only the core package's.

    Those decide how resources are indexed. Parameters of other packages (:func:`published_parameters`) come into force
    through the store, which knows whether everything has been indexed by them.
    """
    core = load(cache)
    if not packages:
        return core
    return msgspec.structs.replace(
        load(cache, packages), search_parameters=core.search_parameters, compartments=core.compartments
    )


def published_parameters(packages: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the SearchParameter resources of packages, each canonical URL once: a later package replaces it."""
    found: dict[str, dict[str, Any]] = {}
    described = {path: package.describe(path) for path in packages}
    for path in package.in_dependency_order(described):
        for name, raw in package.files(path):
            if b'"SearchParameter"' not in raw:
                continue
            try:
                tree = json.decode(raw.removeprefix(b"\xef\xbb\xbf"))
            except json.JsonError as error:
                raise package.PackageError(f"{path}: {name} cannot be read: {error}") from None
            if isinstance(tree, dict) and tree.get("resourceType") == "SearchParameter" and tree.get("url"):
                found[str(tree["url"])] = tree
    return list(found.values())


def describe(definitions: Definitions) -> tuple[PackageLine, ...]:
    """Return one line for each loaded package, in load order."""
    missing = package.missing_dependencies(definitions.packages)
    return tuple(
        PackageLine(
            name=loaded.name,
            version=loaded.version,
            canonical=loaded.canonical,
            sha256=loaded.sha256,
            missing=tuple(str(lack) for lack in missing if lack.package == f"{loaded.name} {loaded.version}"),
        )
        for loaded in definitions.packages
    )


def add(folder: Path, path: Path, *, allow_missing: bool = False) -> Package:
    """Keep a copy of the package at ``path`` (``.tgz`` or folder) in ``folder`` and return its description.

    Another version of the same package is replaced. Raises :class:`package.PackageError` if it cannot be read, or if
    a dependency is neither the core package nor among those added (unless ``allow_missing``).
    """
    described = package.describe(path)
    for word in (described.name, described.version):
        if not _SAFE_NAME.match(word) or ".." in word:
            raise package.PackageError(f"{path}: {word[:100]!r} is not a package name or version")
    others = [entry for entry in _index(folder) if entry.name != described.name]
    present = [_core(), *(Package(entry.name, entry.version, entry.sha256) for entry in others)]
    missing = package.missing_dependencies([*present, described])
    if missing and not allow_missing:
        raise package.PackageError("; ".join(str(lack) for lack in missing) + ". Add what is needed first.")
    digest.collect(path, digest.Sources())  # every file must be readable before it is kept
    folder.mkdir(parents=True, exist_ok=True)
    file = f"{described.name}-{described.version}.tgz"
    _replace(folder / file, _pack(path) if path.is_dir() else path.read_bytes())
    kept = msgspec.structs.replace(described, sha256=package.sha256(folder / file))
    entries = [*others, AddedPackage(kept.name, kept.version, kept.sha256, file)]
    _replace(folder / INDEX_FILE, msgspec.json.format(msgspec.json.encode(entries), indent=2))
    return kept


def added(folder: Path) -> tuple[Path, ...]:
    """Return the packages kept in ``folder``, after checking that none was changed since."""
    paths = []
    for entry in _index(folder):
        path = folder / entry.file
        if not path.exists() or package.sha256(path) != entry.sha256:
            raise package.PackageError(f"{path} is missing or was changed since it was added: add it again")
        paths.append(path)
    return tuple(paths)


def _index(folder: Path) -> list[AddedPackage]:
    index = folder / INDEX_FILE
    if not index.exists():
        return []
    try:
        return msgspec.json.decode(index.read_bytes(), type=list[AddedPackage])
    except msgspec.DecodeError as error:
        raise package.PackageError(f"{index} cannot be read: {error}") from None


def _core() -> Package:
    return Package("hl7.fhir.r4.core", "4.0.1", obtain.CORE_SHA256)


def _pack(folder: Path) -> bytes:
    """Pack a folder as a package file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        manifest = package.folder_file(folder, "package.json")
        for name, content in [("package.json", manifest), *package.files(folder)]:
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _key(paths: Sequence[Path]) -> str:
    """Hash everything a digest depends on: the packages in order, the digesting code, the format."""
    key = hashlib.sha256(f"{FORMAT} {msgspec.__version__}".encode())
    for module in _MADE_BY:
        assert module.__file__ is not None
        key.update(Path(module.__file__).read_bytes())
    for path in paths:
        key.update(package.sha256(path).encode())
    return key.hexdigest()[:32]


def _read(path: Path) -> Definitions | None:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Definitions)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _forget_old(cache: Path) -> None:
    """Delete digests of earlier versions; one that is still used somewhere is simply made again."""
    dated: list[tuple[float, Path]] = []
    for path in cache.glob("definitions-*.msgpack"):
        with contextlib.suppress(FileNotFoundError):  # another process tidies up too
            dated.append((path.stat().st_mtime, path))
    for _, path in sorted(dated)[:-KEPT_DIGESTS]:
        path.unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> None:
    """Put a file in place whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
