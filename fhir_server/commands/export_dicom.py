"""``renkei export dicom``: studies as files, as a disc for others, without the patient, or as a manifest."""

import asyncio
import datetime as dt
import secrets
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.markup import escape

from adapters.dicom.files.deidentify import Dates, Deidentifier, Options
from adapters.dicom.files.exporting import Exporter, LeftOut, NoSuchStudy, deidentified
from adapters.dicom.files.manifest import Source
from adapters.dicom.files.media import Member, write_folder, write_medium, write_zip
from fhir_server import __version__
from fhir_server.commands import images
from fhir_server.commands.shared import Failure, as_served, console, database, errors, settings_from
from fhir_server.settings import NAME, Settings

_SHOWN = 12


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written where."""

    studies: tuple[str, ...]
    target: Path
    form: str
    institution: str
    options: Options | None


def dicom(
    target: Annotated[Path, typer.Argument(help="A folder, or a file that ends in .zip or (--manifest) .dcm.")],
    study: Annotated[list[str], typer.Option("--study", "-s", help="A Study Instance UID; may be repeated.")],
    pdi: Annotated[bool, typer.Option("--pdi", help="A disc for others: DICOMDIR, files with short names.")] = False,
    manifest: Annotated[
        bool, typer.Option("--manifest", help="Only the manifest of one study (KOS, XDS-I.b).")
    ] = False,
    institution: Annotated[str, typer.Option(help="Who hands it out: written into README.TXT and manifest.")] = "",
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="Without the patient (PS3.15 basic profile).")
    ] = False,
    key: Annotated[str, typer.Option(help="With --deidentify: a secret; the same one gives the same pseudonyms.")] = "",
    dates: Annotated[Dates, typer.Option(help="With --deidentify: what becomes of dates.")] = Dates.REMOVED,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="With --deidentify, what stays: uids, patient, device, institution, descriptions."),
    ] = None,
    accept_pixels: Annotated[
        bool, typer.Option("--accept-pixels", help="With --deidentify: also pictures that may show a name.")
    ] = False,
) -> None:
    """Write studies as DICOM files: exactly as they were stored, with corrected patient data where they were corrected.

    **Examples**

        renkei export dicom out/ --study 1.2.392.200036.1

        renkei export dicom study.zip -s 1.2.392.200036.1

        renkei export dicom disc/ --pdi --institution 中央病院 -s 1.2.392.200036.1

        renkei export dicom shared/ --deidentify --key "$SECRET" --dates shifted -s 1.2.392.200036.1
    """
    settings = as_served(settings_from())
    options = _options(key, dates, keep or [], accept_pixels=accept_pixels) if deidentify else None
    form = "manifest" if manifest else "pdi" if pdi else "zip" if target.suffix.lower() == ".zip" else "folder"
    _check(target, form, study, deidentify=deidentify)
    wanted = Wanted(
        studies=tuple(dict.fromkeys(study)), target=target, form=form, institution=institution, options=options
    )
    with database(settings) as url:
        try:
            number, left_out = asyncio.run(_write(settings, url, wanted))
        except NoSuchStudy as error:
            raise Failure(f"there is no study {error}", 1) from None
    console().print(f"{number} objects of {len(wanted.studies)} studies in {target}")
    for one in left_out[:_SHOWN]:
        errors().print(f"left out: {one.instance}: {escape(one.why)}")
    if left_out:
        raise Failure(f"{len(left_out)} objects were left out", 1)


def _check(target: Path, form: str, studies: list[str], *, deidentify: bool) -> None:
    if form == "manifest" and (len(studies) != 1 or deidentify):
        raise Failure("--manifest: of one --study, and not with --deidentify")
    if form in ("zip", "manifest"):
        if target.exists():
            raise Failure(f"{target}: there is such a file already")
        if not target.absolute().parent.is_dir():
            raise Failure(f"{target.absolute().parent}: there is no such folder")
    elif target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Failure(f"{target}: expected a new or empty folder")


def _options(key: str, dates: Dates, keep: list[str], *, accept_pixels: bool) -> Options:
    known = ("uids", "patient", "device", "institution", "descriptions")
    unknown = sorted(set(keep) - set(known))
    if unknown:
        raise Failure(f"--keep: expected one of {', '.join(known)}, got '{unknown[0]}'")
    return Options(
        key=key.encode() or secrets.token_bytes(32),
        dates=dates,
        keep_uids="uids" in keep,
        keep_patient_characteristics="patient" in keep,
        keep_device="device" in keep,
        keep_institution="institution" in keep,
        keep_descriptions="descriptions" in keep,
        accept_pixels=accept_pixels,
    )


async def _write(settings: Settings, url: str, wanted: Wanted) -> tuple[int, list[LeftOut]]:
    async with images.opened(settings, url) as opened:
        exporter = Exporter(opened.archive, opened.index)
        if wanted.form == "manifest":
            source = Source(title=settings.dicom_title, dicomweb=opened.dicomweb, institution=wanted.institution)
            made = dt.datetime.now(settings.zone)
            content = await exporter.manifest(wanted.studies[0], source, made)
            await asyncio.to_thread(wanted.target.write_bytes, content)
            return 1, []
        members = [member for uid in wanted.studies for member in await exporter.members(uid)]
        return await asyncio.to_thread(_written, members, wanted)


def _written(members: list[Member], wanted: Wanted) -> tuple[int, list[LeftOut]]:
    left_out: list[LeftOut] = []
    if wanted.options is not None:
        members, left_out = deidentified(members, Deidentifier(wanted.options))
    if wanted.form == "zip":
        partial = wanted.target.with_suffix(".partial")
        with partial.open("wb") as file:
            write_zip(members, file)
        partial.replace(wanted.target)
        return len(members), left_out
    wanted.target.mkdir(parents=True, exist_ok=True)
    if wanted.form == "folder":
        return write_folder(members, wanted.target), left_out
    software = f"{NAME} {__version__}"
    for problem in write_medium(members, wanted.target, institution=wanted.institution, software=software):
        errors().print(escape(problem))
    return len(members), left_out
