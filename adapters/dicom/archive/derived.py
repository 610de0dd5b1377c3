"""Resources made from single objects (reports, documents, doses) follow when those are taken away or given back."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from adapters.context import Context
from adapters.dicom.archive.entries import Tree, delete, put
from adapters.dicom.dataset.json import bulk_value, to_json
from adapters.dicom.dataset.reader import Malformed
from adapters.dicom.fhir.about import About
from adapters.dicom.fhir.content import TooLarge
from adapters.dicom.fhir.reports import SOP_CLASSES, resources
from adapters.dicom.model import Instance, Place, State, Study
from adapters.dicom.services import door
from fhir_server.core.request import BASE_PATH

_DOCUMENT = "00420011"  # Encapsulated Document
_WITH_STATUS = frozenset(("DiagnosticReport", "DocumentReference", "Observation"))


class Derived:
    """Knows what was made from objects; ``read`` gives the bytes of a kept file."""

    def __init__(self, context: Context, read: Callable[[Place], Awaitable[bytes]]) -> None:
        self._context = context
        self._read = read

    async def entries(self, study: Study, touched: Sequence[Instance], changed: Sequence[Instance]) -> list[Tree]:
        """Return the entries for instances that were ``touched``: as they are ``changed`` now, else gone.

        What was made from a rejected one is entered-in-error, from a deleted one deleted.
        """
        now = {one.uid: one for one in changed}
        found: list[Tree] = []
        for instance in touched:
            if instance.sop_class not in SOP_CLASSES:
                continue
            for made in await self._made(study, instance):
                current, _ = await door.read(self._context, made["resourceType"], made["id"])
                entry = _entry(made, current, now.get(instance.uid))
                if entry is not None:
                    found.append(entry)
        return found

    async def moved(self, study: Study, instances: Sequence[Instance]) -> list[Tree]:
        """Return the entries that have what was made from these instances belong to the study's patient."""
        found: list[Tree] = []
        for instance in instances:
            if not study.patient or instance.sop_class not in SOP_CLASSES:
                continue
            for made in await self._made(study, instance):
                current, _ = await door.read(self._context, made["resourceType"], made["id"])
                if current is not None and current.get("subject", {}).get("reference") not in (None, study.patient):
                    found.append(put({**current, "subject": {"reference": study.patient}}))
        return found

    async def _made(self, study: Study, instance: Instance) -> list[Tree]:
        about = About(
            subject=study.patient,
            imaging_study=study.imaging_study,
            study=study.uid,
            instance=instance.uid,
            sop_class=instance.sop_class,
            zone=self._context.zone,
            received=instance.received,
        )
        try:
            file = await self._read(instance.place)
            return await asyncio.to_thread(_resources, file, about, self._url(instance))
        except (OSError, Malformed, TooLarge):
            return []

    def _url(self, instance: Instance) -> str:
        """Return where the object is had."""
        root = f"{self._context.base.removesuffix(BASE_PATH)}/dicomweb"
        return f"{root}/studies/{instance.study}/series/{instance.series}/instances/{instance.uid}"


def _resources(file: bytes, about: About, url: str) -> list[Tree]:
    attributes = to_json(file, lambda *_: "")
    document = bulk_value(file, _DOCUMENT)[0] if _DOCUMENT in attributes else b""
    return resources(attributes, about, document=document, retrieve=url)


def _entry(made: Tree, current: Tree | None, instance: Instance | None) -> Tree | None:
    if instance is None:
        return None if current is None else delete(current)
    if instance.state is State.REJECTED:
        if current is None or current["resourceType"] not in _WITH_STATUS:
            return None
        return put({**current, "status": "entered-in-error"})
    if current is None:
        return put(made)
    kept = {"basedOn": current["basedOn"]} if "basedOn" in current else {}
    return put({**made, **kept, "meta": {**made.get("meta", {}), "versionId": current["meta"]["versionId"]}})
