"""``renkei viewer``."""

from pathlib import Path
from typing import Annotated

import typer

from adapters.dicom.viewer import ohif
from fhir_server.commands.shared import Failure, console, errors, settings_from

_DATA = typer.Option(help="Data folder (RENKEI_DATA; default ./data).")


def build() -> typer.Typer:
    """Return the group of commands about viewers."""
    app = typer.Typer(help="The OHIF viewer beside our own page of images.", no_args_is_help=True)
    app.command("install")(install)
    app.command("status")(status)
    app.command("remove")(remove)
    return app


def _folder(data: Path | None) -> Path:
    return settings_from({"data": None if data is None else str(data)}).ohif_folder


def install(
    data: Annotated[Path | None, _DATA] = None,
    package: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The package's .tgz, where npm cannot be used.")
    ] = None,
) -> None:
    """Obtain OHIF with npm and put it into the data folder. Afterwards nothing is loaded from outside.

    **Example**

        renkei viewer install
    """
    try:
        installed = ohif.install(_folder(data), lambda line: errors().print(line), package)
    except (ohif.InstallError, OSError) as error:
        raise Failure(str(error)) from None
    console().print(f"installed {installed.package} {installed.version} ({installed.size // 1_000_000} MB)")
    errors().print('A running server offers it at once: /ohif/, and a link on /viewer. viewer = "ohif" opens it first.')


def status(data: Annotated[Path | None, _DATA] = None) -> None:
    """Tell whether OHIF is installed.

    **Example**

        renkei viewer status
    """
    installed = ohif.status(_folder(data))
    if installed is None:
        console().print("OHIF is not installed; our own page at /viewer serves")
    else:
        console().print(
            f"{installed.package} {installed.version}, {installed.files} files, {installed.size // 1_000_000} MB"
        )


def remove(data: Annotated[Path | None, _DATA] = None) -> None:
    """Remove OHIF from the data folder.

    **Example**

        renkei viewer remove
    """
    console().print("removed" if ohif.remove(_folder(data)) else "OHIF was not installed")
