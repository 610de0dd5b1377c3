"""Finding patients, studies, series and instances (PS3.4 C.4.1, PS3.18 10.6), in an order that pages can rely on.

Newest studies first, within them series and instances by number; patients by Patient ID.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Final, TypeVar

import msgspec

from adapters.dicom.archive.fields import (
    INSTANCE,
    SERIES,
    STUDY,
    WHEN,
    instance_fields,
    series_fields,
    study_fields,
)
from adapters.dicom.archive.query import BadKey, ImageQuery, Match, Part, Tester, plan
from adapters.dicom.archive.rows import read_instance, read_series, read_study
from adapters.dicom.model import Attributes, Instance, Level, Series, Study
from fhir_server.core.tables import Condition, In, RowQuery, Tables

__all__ = ("BadKey", "Found", "ImageIndex", "ImageQuery", "Match")

_NEWEST: Final = ((WHEN, True),)
_BY_PATIENT: Final = (("00100020", False), (WHEN, True))
_CHUNK: Final = 500
_FEW: Final = 50
_ALL: Final = 1_000_000
_UNNUMBERED: Final = 2**62
_MOST: Final = 200_000  # studies that one question looks at

_Thing = TypeVar("_Thing")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One match. ``attributes`` of its level and those above, with counts; ``study`` of a patient: the newest one."""

    attributes: Attributes
    study: Study
    series: Series | None = None
    instance: Instance | None = None


class ImageIndex:
    """Answers questions about what is in the archive."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def find(self, query: ImageQuery) -> AsyncIterator[Found]:
        """Yield the matches in order; raise BadKey for a key that cannot be matched, or for too much to look at."""
        left, skipped = query.limit, query.offset
        if left <= 0:
            return
        steps = plan(query)
        if query.level is Level.STUDY and steps.study.is_exact and steps.study.ids is None:
            async for study in self._studies(steps.study, _NEWEST, query.offset, query.limit):
                yield _found(query, study)
            return
        async for found in self._everything(query):
            if skipped:
                skipped -= 1
                continue
            yield found
            left -= 1
            if not left:
                return

    async def count(self, query: ImageQuery) -> int:
        """Return how many match (``offset`` and ``limit`` are ignored)."""
        steps = plan(query)
        if query.level is Level.STUDY and steps.study.is_exact and steps.study.ids is None:
            return await self._tables.count(RowQuery(table=STUDY, where=steps.study.where))
        number = 0
        async for _ in self._everything(query):
            number += 1
        return number

    @staticmethod
    def unsupported(query: ImageQuery) -> tuple[str, ...]:
        """Return the keys that are left out: attributes that the archive does not keep, or of a lower level."""
        return plan(query).unsupported

    # --- by what they are ---

    async def study(self, uid: str) -> Study | None:
        """Return a study."""
        found = (await self._tables.get(STUDY, (uid,))).get(uid)
        return read_study(found) if found else None

    async def one_series(self, uid: str) -> Series | None:
        """Return a series."""
        found = (await self._tables.get(SERIES, (uid,))).get(uid)
        return read_series(found) if found else None

    async def series(self, study: str) -> list[Series]:
        """Return the series of a study by number, also those of which nothing is shown."""
        rows = await self._tables.find(RowQuery(table=SERIES, where=(In("study", (study,)),), limit=_ALL))
        return sorted(map(read_series, rows), key=_series_place)

    async def instances(self, study: str, series: str | None = None, *, show_rejected: bool = False) -> list[Instance]:
        """Return the instances that are shown, of a study or one series of it, by number of series and instance."""
        query = ImageQuery(level=Level.IMAGE, show_rejected=show_rejected)
        where = (In("series", (series,)), In("study", (study,))) if series else (In("study", (study,)),)
        shown = plan(query).instance.where
        rows = await self._tables.find(RowQuery(table=INSTANCE, where=(*where, *shown), limit=_ALL))
        found = sorted(map(read_instance, rows), key=_instance_place)
        if series is None:
            places = {one.uid: place for place, one in enumerate(await self.series(study))}
            found.sort(key=lambda instance: places.get(instance.series, _UNNUMBERED))
        return found

    async def instance(self, uid: str) -> Instance | None:
        """Return an instance, whatever its state."""
        found = (await self._tables.get(INSTANCE, (uid,))).get(uid)
        return read_instance(found) if found else None

    async def patient_studies(self, patient: str) -> list[Study]:
        """Return the studies of a patient (``Patient/1``), newest first, also those of which nothing is shown."""
        where = (In("patient", (patient,)),)
        rows = await self._tables.find(RowQuery(table=STUDY, where=where, order=_NEWEST, limit=_ALL))
        return [read_study(row) for row in rows]

    # --- inside ---

    async def _everything(self, query: ImageQuery) -> AsyncIterator[Found]:
        steps = plan(query)
        match query.level:
            case Level.PATIENT:
                async for studies in self._patients(steps.study):
                    yield _found_patient(query, studies)
            case Level.STUDY:
                async for study in self._studies(steps.study, _NEWEST):
                    yield _found(query, study)
            case Level.SERIES:
                async for study, series in self._series(steps.study, steps.series):
                    yield _found(query, study, series)
            case Level.IMAGE:
                async for study, series, instance in self._instances(steps.study, steps.series, steps.instance):
                    yield _found(query, study, series, instance)

    async def _studies(
        self, part: Part, order: tuple[tuple[str, bool], ...], offset: int = 0, limit: int = _ALL
    ) -> AsyncIterator[Study]:
        """Yield the studies that match, in order; ``offset`` and ``limit`` count rows, not matches."""
        tester = Tester(part)
        if part.ids is not None:
            for study in await self._studies_by_id(part.ids, tester):
                yield study
            return
        size = _FEW
        while limit > 0:
            query = RowQuery(table=STUDY, where=part.where, order=order, offset=offset, limit=min(limit, size))
            rows = await self._tables.find(query)
            for study in map(read_study, rows):
                if tester.attributes(study.attributes):
                    yield study
            if len(rows) < query.limit:
                return
            offset, limit, size = offset + len(rows), limit - len(rows), _CHUNK
            if offset >= _MOST:
                raise BadKey(
                    "0020000D", "too many studies would have to be looked at: ask for a patient or a day as well"
                )

    async def _studies_by_id(self, ids: Sequence[str], tester: Tester) -> list[Study]:
        found = map(read_study, (await self._tables.get(STUDY, ids)).values())
        kept = [study for study in found if tester.row(study_fields(study)) and tester.attributes(study.attributes)]
        kept.sort(key=lambda study: study.uid)
        kept.sort(key=lambda study: str(study_fields(study).get(WHEN, "")), reverse=True)
        return kept

    async def _patients(self, part: Part) -> AsyncIterator[list[Study]]:
        """Yield the studies of each patient: those with the same Patient ID and issuer (or, without, name)."""
        run: list[Study] = []
        async for study in self._studies(part, _BY_PATIENT):
            if run and study.patient_id != run[0].patient_id:
                for group in _by_patient(run):
                    yield group
                run = []
            run.append(study)
        for group in _by_patient(run):
            yield group

    async def _series(self, of_study: Part, part: Part) -> AsyncIterator[tuple[Study, Series]]:
        if part.ids is not None:
            for pair in await self._series_by_id(of_study, part):
                yield pair
            return
        tester = Tester(part)
        async for studies in _chunks(self._studies(of_study, _NEWEST)):
            where: tuple[Condition, ...] = (In("study", tuple(study.uid for study in studies)), *part.where)
            rows = await self._tables.find(RowQuery(table=SERIES, where=where, limit=_ALL))
            found = sorted(map(read_series, rows), key=_series_place)
            for study in studies:
                for series in found:
                    if series.study == study.uid and tester.attributes(series.attributes):
                        yield study, series

    async def _series_by_id(self, of_study: Part, part: Part) -> list[tuple[Study, Series]]:
        tester = Tester(part)
        found = map(read_series, (await self._tables.get(SERIES, part.ids or ())).values())
        kept = [one for one in found if tester.row(series_fields(one)) and tester.attributes(one.attributes)]
        studies = {study.uid: study async for study in self._studies(_narrowed(of_study, kept), _NEWEST)}
        places = {uid: place for place, uid in enumerate(studies)}
        kept = sorted(
            (one for one in kept if one.study in studies), key=lambda one: (places[one.study], _series_place(one))
        )
        return [(studies[series.study], series) for series in kept]

    async def _instances(
        self, of_study: Part, of_series: Part, part: Part
    ) -> AsyncIterator[tuple[Study, Series, Instance]]:
        tester = Tester(part)
        if part.ids is not None:
            found = map(read_instance, (await self._tables.get(INSTANCE, part.ids)).values())
            kept = [one for one in found if tester.row(instance_fields(one)) and tester.attributes(one.attributes)]
            async for study, series in self._series(of_study, _narrowed_series(of_series, kept)):
                for instance in sorted(kept, key=_instance_place):
                    if instance.series == series.uid:
                        yield study, series, instance
            return
        async for pairs in _chunks(self._series(of_study, of_series), lambda pair: pair[1].instances):
            where = (In("series", tuple(series.uid for _, series in pairs)), *part.where)
            rows = await self._tables.find(RowQuery(table=INSTANCE, where=where, limit=_ALL))
            by_series: dict[str, list[Instance]] = {}
            for instance in map(read_instance, rows):
                if tester.attributes(instance.attributes):
                    by_series.setdefault(instance.series, []).append(instance)
            for study, series in pairs:
                for instance in sorted(by_series.get(series.uid, ()), key=_instance_place):
                    yield study, series, instance


def merged(study: Study, series: Series | None = None, instance: Instance | None = None) -> Attributes:
    """Return the attributes of all levels, with those that are counted or collected."""
    attributes = dict(study.attributes)
    attributes["0020000D"] = {"vr": "UI", "Value": [study.uid]}
    attributes["00080061"] = {"vr": "CS", "Value": list(study.modalities)}
    attributes["00080062"] = {"vr": "UI", "Value": list(study.sop_classes)}
    attributes["00201206"] = _number(study.series)
    attributes["00201208"] = _number(study.instances)
    attributes["00080056"] = {"vr": "CS", "Value": ["ONLINE"]}
    if series is not None:
        attributes.update(series.attributes)
        attributes["0020000E"] = {"vr": "UI", "Value": [series.uid]}
        attributes["00201209"] = _number(series.instances)
    if instance is not None:
        attributes.update(instance.attributes)
        attributes["00080018"] = {"vr": "UI", "Value": [instance.uid]}
        attributes["00080016"] = {"vr": "UI", "Value": [instance.sop_class]}
    return attributes


def _found(query: ImageQuery, study: Study, series: Series | None = None, instance: Instance | None = None) -> Found:
    attributes = _included(query, merged(study, series, instance))
    return Found(attributes=attributes, study=study, series=series, instance=instance)


def _found_patient(query: ImageQuery, studies: Sequence[Study]) -> Found:
    attributes = {tag: found for tag, found in studies[0].attributes.items() if tag.startswith(("0010", "0012"))}
    attributes["00201200"] = _number(len(studies))
    attributes["00201202"] = _number(sum(study.series for study in studies))
    attributes["00201204"] = _number(sum(study.instances for study in studies))
    return Found(attributes=_included(query, attributes), study=studies[0])


def _included(query: ImageQuery, attributes: Attributes) -> Attributes:
    wanted = query.include
    return attributes if wanted is None else {tag: found for tag, found in attributes.items() if tag in wanted}


def _number(value: int) -> Attributes:
    return {"vr": "IS", "Value": [value]}


def _by_patient(studies: Sequence[Study]) -> Iterator[list[Study]]:
    groups: dict[tuple[object, ...], list[Study]] = {}
    for study in studies:
        known = (study.patient_id, study.issuer)
        key = known if study.patient_id else (*known, study_fields(study).get("00100010", study.uid))
        groups.setdefault(key, []).append(study)
    yield from groups.values()


def _narrowed(part: Part, series: Sequence[Series]) -> Part:
    """Return the part for studies that these series are in."""
    there = tuple(dict.fromkeys(one.study for one in series))
    return msgspec.structs.replace(part, ids=there if part.ids is None else tuple(u for u in part.ids if u in there))


def _narrowed_series(part: Part, instances: Sequence[Instance]) -> Part:
    there = tuple(dict.fromkeys(one.series for one in instances))
    return msgspec.structs.replace(part, ids=there if part.ids is None else tuple(u for u in part.ids if u in there))


def _series_place(series: Series) -> tuple[int, str]:
    return (_UNNUMBERED if series.number is None else series.number, series.uid)


def _instance_place(instance: Instance) -> tuple[int, str]:
    return (_UNNUMBERED if instance.number is None else instance.number, instance.uid)


async def _chunks(
    found: AsyncIterator[_Thing], weight: Callable[[_Thing], int] = lambda _: 1
) -> AsyncIterator[list[_Thing]]:
    """Yield what is found in lists, few at first; none has much more than ``_CHUNK`` in weight."""
    chunk: list[_Thing] = []
    size, weighs = _FEW, 0
    async for one in found:
        chunk.append(one)
        weighs += weight(one)
        if weighs >= size:
            yield chunk
            chunk, size, weighs = [], _CHUNK, 0
    if chunk:
        yield chunk
