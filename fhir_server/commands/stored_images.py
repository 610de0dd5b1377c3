"""``renkei dicom compact`` and ``renkei dicom correct``: upkeep of the images that are stored."""

import asyncio
import re
from typing import Annotated

import typer

from adapters.dicom.archive.compaction import Compacted, Compaction
from adapters.dicom.archive.derived import Derived
from adapters.dicom.archive.query import value_representation
from adapters.dicom.archive.reconcile import Corrections, Reconciliation
from adapters.dicom.archive.removal import TooManyChanges
from adapters.dicom.dataset.names import parse
from adapters.dicom.model import Attributes
from adapters.dicom.services import door
from fhir_server.commands import images
from fhir_server.commands.shared import Failure, as_served, console, database, settings_from
from fhir_server.core.change import StoreUnavailable
from fhir_server.settings import Settings

_PAIR = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?=(.*)", re.DOTALL)
_PATIENT = re.compile(r"Patient/[A-Za-z0-9.-]{1,64}")


def compact(
    needed: Annotated[
        int, typer.Option(min=1, max=99, help="Packs of which less than so many percent is needed are written anew.")
    ] = 50,
) -> None:
    """Give back the room of deleted images. The server may run meanwhile; packs in use are left for the next time.

    **Example**

        renkei dicom compact
    """
    settings = as_served(settings_from())
    with database(settings) as url:
        done = asyncio.run(_compact(settings, url, needed / 100))
    console().print(
        f"{done.looked_at} packs looked at, {done.rewritten} written anew, {done.removed} removed: "
        f"{done.freed / 1e6:.1f} MB given back"
    )


def correct(
    study: Annotated[str, typer.Argument(help="The Study Instance UID.")],
    patient: Annotated[str, typer.Option(help="Whose it is: Patient/<id>.")] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="An attribute as it should be: 00100020=4711. Empty: none.")
    ] = None,
) -> None:
    """Correct whose a study is, and what it says of the patient. Files stay as they are; they go out corrected.

    A value as the images have it takes a correction back.

    **Examples**

        renkei dicom correct 1.2.392.200036.1 --patient Patient/4711 --set 00100020=4711

        renkei dicom correct 1.2.392.200036.1 --set "00100010=YAMADA^TAROU=山田^太郎=やまだ^たろう"
    """
    if patient and not _PATIENT.fullmatch(patient):
        raise Failure(f"'{patient}' is no reference like Patient/4711")
    corrections = dict(map(_correction, set_ or ()))
    if not patient and not corrections:
        raise Failure("say what is to be corrected: --patient or --set")
    settings = as_served(settings_from())
    with database(settings) as url:
        try:
            done = asyncio.run(_correct(settings, url, study, corrections, patient))
        except KeyError:
            raise Failure(f"there is no study {study}", 1) from None
        except ValueError as error:
            raise Failure(str(error), 1) from None
        except (TooManyChanges, StoreUnavailable, door.Unavailable) as error:
            raise Failure(f"nothing was corrected: {error}", 1) from None
    console().print("corrected" if done else "it is so already")


async def _compact(settings: Settings, url: str, needed: float) -> Compacted:
    async with images.opened(settings, url) as opened:
        return await Compaction(opened.context, opened.archive.folder, needed=needed).run()


async def _correct(settings: Settings, url: str, study: str, corrections: Corrections, patient: str) -> bool:
    async with images.opened(settings, url) as opened:
        if patient and (await door.read(opened.context, *patient.split("/")))[0] is None:
            raise ValueError(f"there is no {patient}")
        derived = Derived(opened.context, opened.archive.read)
        systems = opened.archive.options.patients
        return await Reconciliation(opened.context, derived, systems).correct(study, corrections, patient)


def _correction(text: str) -> tuple[str, Attributes | None]:
    found = _PAIR.fullmatch(text)
    if found is None:
        raise Failure(f"'{text.partition('=')[0]}' is not TAG=VALUE, like 00100020=4711")
    tag = (found[1] + found[2]).upper()
    vr, value = value_representation(tag), found[3].strip()
    if vr == "SQ":
        raise Failure(f"{tag} is a sequence, which cannot be given here")
    if not value:
        return tag, None
    return tag, {"vr": vr, "Value": [parse(value) if vr == "PN" else value]}
