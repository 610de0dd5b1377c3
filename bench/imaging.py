"""Images: storing and reading them beside Orthanc, finding studies, drawing pictures.

What is measured beside Orthanc runs in processes of its own, as it wants a network of its own.
"""

import subprocess
from collections.abc import Callable, Sequence

from bench import imaging_find, imaging_render
from bench.processes import python
from bench.servers import REPOSITORY

#: work -> what it is, and its module if it runs in a process of its own
WORKS = {
    "image-store": ("C-STORE", "bench.imaging_store"),
    "image-web": ("DICOMweb", "bench.imaging_web"),
    "find": ("studies in the image index", ""),
    "draw": ("pictures of each kind of pixel data", ""),
}


class FailedImagingError(Exception):
    """A benchmark of images did not end well."""


def text(works: Sequence[str], say: Callable[[str], None], *, smoke: bool) -> str:
    """Measure some of :data:`WORKS` and return their tables as Markdown."""
    parts = []
    for work in works:
        title, module = WORKS[work]
        say(f"{title} …")
        if module:
            parts.append(_table(module, say, smoke=smoke))
        else:
            parts.append(imaging_find.text(smoke=smoke) if work == "find" else imaging_render.text(5 if smoke else 200))
    return "\n\n".join(parts)


def _table(module: str, say: Callable[[str], None], *, smoke: bool) -> str:
    command = python("-m", module, *(["--smoke"] if smoke else []))
    rows: list[str] = []
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("|"):
                rows.append(line.rstrip())
            elif line.strip():
                say(line.rstrip())
    if running.returncode:
        raise FailedImagingError(f"{module} ended with {running.returncode}")
    return "\n".join(rows)
