"""Installs the OHIF viewer's published build: obtained with npm, checked, trimmed, given our own configuration.

Nothing of it is run here, and at run time it speaks with this server only.
"""

import base64
import gzip
import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import msgspec

PACKAGE = "@ohif/app"
VERSION = "3.12.10"
INTEGRITY = "sha512-0kuF66Mq9c9dMD++bUsTjMrJpXJwaZhz9B4uS244DawAjSkTwIYFU93pxPuRUQixaRi7QAHlF3Fe1qudBlZrmA=="

_SECONDS = 900
_INSIDE = "package/dist/"
_MARK = "installed.json"
#: the neural network runtime, the microscopy viewer, log-in by Google, and what is for other ways to serve it
_NOT_NEEDED = re.compile(
    r"(ort|dicom-microscopy-viewer)/|.*\.map$|(init-service-worker|sw|google|polyfill\.min|es6-shim\.min|"
    r"oidc-client\.min)\.js$|silent-refresh\.html$|manifest\.json$|serve\.json$|_headers$|_redirects$|app-config\.js$"
)
_COMPRESSED, _COMPRESSED_FROM = (".js", ".css", ".svg", ".wasm"), 1024
_PUBLIC_PATH = re.compile(rb'__webpack_require__\.p = "/";')
_INLINE = re.compile(r"<script>.*?</script>", re.DOTALL)
_SERVICE_WORKER = re.compile(r'<script[^>]*src="/init-service-worker\.js"[^>]*></script>|<link rel="manifest"[^>]*>')
_ABSOLUTE = re.compile(r'(href|src|content)="/(?!/)')
_START = "renkei-start.js"
_START_SCRIPT = """window.PUBLIC_URL = '/ohif/';
function browserImportFunction(moduleId) { return import(moduleId); }
"""


class InstallError(RuntimeError):
    """OHIF could not be installed; the message says what to do."""


class Installed(msgspec.Struct, frozen=True):
    """What is installed."""

    package: str
    version: str
    integrity: str
    files: int
    size: int  # bytes


def is_installed(folder: Path) -> bool:
    """Tell if OHIF is there."""
    return (folder / _MARK).is_file()


def status(folder: Path) -> Installed | None:
    """Return what is installed, or None."""
    try:
        return msgspec.json.decode((folder / _MARK).read_bytes(), type=Installed)
    except (OSError, msgspec.DecodeError):
        return None


def remove(folder: Path) -> bool:
    """Remove it; return whether it was there."""
    there = folder.exists()
    shutil.rmtree(folder, ignore_errors=True)
    return there


def install(folder: Path, report: Callable[[str], None], archive: Path | None = None) -> Installed:
    """Install into ``folder``, which is replaced. ``archive`` is the package's file where it was obtained elsewhere."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="installing-") as work:
        if archive is None:
            report(f"obtaining {PACKAGE} {VERSION} with npm (49 MB)")
            archive = _obtain(Path(work))
        check(archive)
        fresh = Path(work) / "ohif"
        report("unpacking what is needed of it")
        installed = unpack(archive, fresh)
        remove(folder)
        fresh.replace(folder)
    return installed


def _obtain(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise InstallError("npm is not installed: install Node.js, or give the package's file with --package")
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(folder), "--ignore-scripts", "--silent"]
    try:
        run = subprocess.run(  # noqa: S603 -- fixed arguments
            command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise InstallError(f"npm did not obtain {PACKAGE} {VERSION} within {_SECONDS} s") from None
    found = sorted(folder.glob("*.tgz"))
    if run.returncode != 0 or len(found) != 1:
        said = " ".join(line.strip() for line in run.stderr.splitlines()[:3]) or f"exit code {run.returncode}"
        raise InstallError(f"npm could not obtain {PACKAGE} {VERSION}: {said}")
    return found[0]


def check(archive: Path, integrity: str = INTEGRITY) -> None:
    """Refuse another file than the one this version was made for."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    if f"sha512-{base64.b64encode(digest).decode()}" != integrity:
        raise InstallError(f"{archive.name} is not {PACKAGE} {VERSION} as published: its hash differs")


def unpack(archive: Path, folder: Path) -> Installed:
    """Unpack the needed files into ``folder / "files"`` and adapt them to their address."""
    files = folder / "files"
    count, size = 0, 0
    with tarfile.open(archive) as package:
        for member in package:
            name = member.name.removeprefix(_INSIDE)
            if not member.isfile() or name == member.name or _NOT_NEEDED.match(name):
                continue
            content = package.extractfile(member)
            assert content is not None
            target = files / name
            if not target.resolve().is_relative_to(files.resolve()):
                raise InstallError(f"{archive.name} has a file outside of its folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            raw = adapted(name, content.read())
            target.write_bytes(raw)
            if name.endswith(_COMPRESSED) and len(raw) >= _COMPRESSED_FROM:
                target.with_name(f"{target.name}.gz").write_bytes(gzip.compress(raw, 6, mtime=0))
            count, size = count + 1, size + len(raw)
    if not (files / "index.html").is_file():
        raise InstallError(f"{archive.name} has no start page")
    configuration = resources.files("adapters.dicom.viewer") / "ohif-config.js"
    (files / "app-config.js").write_bytes(configuration.read_bytes())
    (files / _START).write_text(_START_SCRIPT, encoding="utf-8")
    installed = Installed(PACKAGE, VERSION, INTEGRITY, count + 2, size)
    (folder / _MARK).write_bytes(msgspec.json.encode(installed))
    return installed


def adapted(name: str, content: bytes) -> bytes:
    """Return a file with the addresses of ``/ohif/`` instead of the root's."""
    if name == "index.html":
        page = _SERVICE_WORKER.sub("", content.decode())
        page, inline = _INLINE.subn("", page)
        if not inline:
            raise InstallError("the start page of OHIF is not as expected")
        page = page.replace("<head>", f'<head><script src="/{_START}"></script>', 1)
        return _ABSOLUTE.sub(r'\1="/ohif/', page).encode()
    if name.endswith(".js"):
        content, changed = _PUBLIC_PATH.subn(b'__webpack_require__.p = "/ohif/";', content)
        if not changed and name.startswith("app.bundle."):
            raise InstallError("the program of OHIF is not as expected")
    elif name.endswith(".css"):
        content = content.replace(b"url(/", b"url(/ohif/")
    return content
