"""Reconciling studies with what is known of their patients (IHE RAD PIR; HL7 v2 ADT A08, A40, A43, A47).

A correction is laid over a study in the index (``attributes``), what the images say is kept beside it (``original``),
and objects are corrected when they go out: no file is ever rewritten. With the rows the ImagingStudy and what was made
from single objects move to the right Patient, in one commit.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from adapters.context import Context
from adapters.dicom.archive.derived import Derived
from adapters.dicom.archive.entries import Tree, put
from adapters.dicom.archive.fields import INSTANCE, STUDY
from adapters.dicom.archive.growth import issuer
from adapters.dicom.archive.removal import TooManyChanges, Whole, as_imaging_study, load
from adapters.dicom.archive.rows import read_instance, read_study, series_row, study_row
from adapters.dicom.archive.sounds import sound
from adapters.dicom.dataset import levels
from adapters.dicom.dataset.names import fold
from adapters.dicom.fhir.codes import first, text
from adapters.dicom.fhir.patient import PatientSystems
from adapters.dicom.fhir.person_names import person_name
from adapters.dicom.model import Attributes, Study
from adapters.dicom.services import door
from adapters.ingest.identify import replaced_by
from fhir_server.core.tables import In, RowQuery

_ATTEMPTS: Final = 20
_ALL: Final = 1_000_000
_LONGEST_CHAIN: Final = 16
_FIXED: Final = frozenset(("0020000D",))
_SEX: Final = {"male": "M", "female": "F", "other": "O"}

Corrections = Mapping[str, Attributes | None]


class Reconciliation:
    """Corrects studies."""

    def __init__(self, context: Context, derived: Derived, systems: PatientSystems) -> None:
        self._context = context
        self._tables = context.tables
        self._derived = derived
        self._systems = systems

    async def correct(self, study: str, corrections: Corrections, patient: str = "") -> bool:
        """Lay corrections over a study, and have it belong to a patient (``Patient/1``); False if nothing changes.

        An element None is removed; one that is as the images say takes a correction back. Raise ValueError for what is
        no attribute of a patient or study, KeyError where there is no such study, and what the door raises.
        """
        for tag in corrections:
            if tag not in (levels.PATIENT | levels.STUDY) - _FIXED:
                raise ValueError(f"({tag[:4]},{tag[4:8]}) is no attribute of a patient or study that can be corrected")
        pause = 0.005
        for _ in range(_ATTEMPTS):
            whole = await load(self._tables, study)
            if whole is None:
                raise KeyError(study)
            after = corrected(whole.study, corrections, patient)
            if after is None:
                return False
            try:
                await self._write(whole, after)
            except door.Conflict:
                await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter
                pause = min(2 * pause, 0.5)
            else:
                return True
        raise TooManyChanges(study)

    async def patients_changed(self, references: Sequence[str]) -> int:
        """Have the studies of these patients say what is known of them now; return how many were corrected.

        The studies of one who was merged go to the patient who replaces him.
        """
        query = RowQuery(table=STUDY, where=(In("patient", tuple(references)),), limit=_ALL)
        studies = [read_study(row) for row in await self._tables.find(query)]
        if not studies:
            return 0
        survivors = {name: await self._survivor(name) for name in {study.patient for study in studies}}
        done = 0
        for study in studies:
            tree = survivors[study.patient]
            if tree is not None:
                wanted = differences(study, tree, await self._system(study))
                done += await self.correct(study.uid, wanted, f"Patient/{tree['id']}")
        return done

    async def merged_ids(self, studies: Sequence[Study]) -> int:
        """Correct the Patient ID of studies that came with one that was merged away; return how many were."""
        done = 0
        for study in studies:
            tree = await self._survivor(study.patient) if study.patient else None
            if tree is None:
                continue
            wanted = differences(study, tree, await self._system(study))
            if "00100020" in wanted:
                done += await self.correct(study.uid, wanted, f"Patient/{tree['id']}")
        return done

    # --- inside ---

    async def _system(self, study: Study) -> str:
        """Return the system of the Patient ID that the images have."""
        lead = (await self._tables.get(INSTANCE, (study.lead,))).get(study.lead) if study.lead else None
        sender = read_instance(lead).sender if lead else None
        return self._systems.system({**study.attributes, **study.original}, sender)

    async def _write(self, whole: Whole, after: Study) -> None:
        series = {uid: msgspec.structs.replace(one, revision=one.revision + 1) for uid, one in whole.series.items()}
        rows = [study_row(after), *map(series_row, series.values())]
        entries: list[Tree] = []
        if after.imaging_study:
            current, _ = await door.read(self._context, *after.imaging_study.split("/", 1))
            if current is not None:
                whole = Whole(study=after, series=series, instances=whole.instances)
                entries.append(put(as_imaging_study(self._context, whole, current)))
        entries += await self._derived.moved(after, list(whole.instances.values()))
        await door.transact(self._context, entries, rows)

    async def _survivor(self, name: str) -> Tree | None:
        """Return the patient, or who replaces him; None if he is not there any more."""
        tree: Tree | None = None
        for _ in range(_LONGEST_CHAIN):
            found, _version = await door.read(self._context, *name.split("/", 1))
            if found is None:
                return tree
            tree = found
            name = replaced_by(tree) or ""
            if not name:
                return tree
        return tree


def corrected(study: Study, corrections: Corrections, patient: str = "") -> Study | None:
    """Return the next revision of a study with corrections laid over it; None if nothing changes."""
    attributes, original = dict(study.attributes), dict(study.original)
    for tag, wanted in corrections.items():
        said = original.get(tag, attributes.get(tag, {}))  # by the images
        if (wanted or {}).get("Value") == said.get("Value"):
            original.pop(tag, None)
            wanted = said or None
        else:
            original[tag] = said
        if wanted:
            attributes[tag] = dict(wanted)
        else:
            attributes.pop(tag, None)
    after = msgspec.structs.replace(
        study,
        attributes=attributes,
        original=original,
        patient_id=text(attributes, "00100020"),
        issuer=issuer(attributes),
        patient=patient or study.patient,
    )
    return None if after == study else msgspec.structs.replace(after, revision=study.revision + 1)


def differences(study: Study, tree: Tree, system: str) -> dict[str, Attributes | None]:
    """Return what a Patient says otherwise than the study; what he does not say is left as it is.

    ``system`` is that of the study's Patient ID.
    """
    found: dict[str, Attributes | None] = {}
    known = _identifiers(tree, system)
    if known and study.patient_id not in known:
        found["00100020"] = {"vr": "LO", "Value": [known[0]]}
    name = person_name(tree.get("name", ()))
    if name and not same_name(first(study.attributes, "00100010"), name):
        found["00100010"] = {"vr": "PN", "Value": [name]}
    born = str(tree.get("birthDate", "")).replace("-", "")
    if len(born) == 8 and born != text(study.attributes, "00100030"):
        found["00100030"] = {"vr": "DA", "Value": [born]}
    sex = _SEX.get(str(tree.get("gender", "")), "")
    if sex and sex != text(study.attributes, "00100040"):
        found["00100040"] = {"vr": "CS", "Value": [sex]}
    return found


def same_name(said: Any, known: Mapping[str, str]) -> bool:  # a JSON value
    """Return whether two names agree in every group that both have; Latin letters and kana by their sound.

    What is written in different groups only cannot be compared: it counts as the same.
    """
    if not isinstance(said, Mapping) or not any(said.values()):
        return False
    common = [(group, said[group], known[group]) for group in known if said.get(group)]
    return all(_same_group(group, one, other) for group, one, other in common)


def _same_group(group: str, one: str, other: str) -> bool:
    if group == "Ideographic":
        return _plain(one) == _plain(other)
    return _plain(one) == _plain(other) or (sound(_plain(one)) == sound(_plain(other)) != "")


def _plain(value: str) -> str:
    return fold(value.replace("^", " ")).replace(" ", "")


def _identifiers(tree: Tree, system: str) -> list[str]:
    """Return the patient's identifiers of a system that are in use."""
    return [
        str(one["value"])
        for one in tree.get("identifier", ())
        if one.get("system") == system and one.get("use") != "old" and one.get("value")
    ]
