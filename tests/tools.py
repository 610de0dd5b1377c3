"""Programs that tests use and `packaging/install-tools tests` installs."""

import os
import shutil

import pytest


def require(*programs: str) -> str:
    """Return the path of the first of these programs that is installed.

    Without any the test is skipped; with CI set it fails, as CI has installed them.
    """
    for program in programs:
        if path := shutil.which(program):
            return path
    message = f"{' or '.join(programs)} is not installed (packaging/install-tools tests)"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
