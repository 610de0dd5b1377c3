"""Studies and instances that were looked up a moment ago: a viewer asks for a series instance by instance.

What another process takes away or corrects may be seen here for as long as something is remembered.
"""

import time
from collections import OrderedDict

import msgspec

from adapters.dicom.archive.find import ImageIndex
from adapters.dicom.model import Attributes, Instance, Study

_SECONDS = 2.0
_MOST_STUDIES = 200
_MOST_INSTANCES = 10_000
_SINGLY = 3  # instances of a series that are looked up one by one before all of it is
#: what is needed of an instance's attributes: to know where a frame begins
_NEEDED = ("00280002", "00280004", "00280010", "00280011", "00280100")


class _Series(msgspec.Struct):
    until: float
    asked: int = 0
    instances: dict[str, Instance] = {}


class Lookups:
    """Remembers for a moment."""

    def __init__(self, index: ImageIndex) -> None:
        self._index = index
        self._studies: OrderedDict[str, tuple[float, Study]] = OrderedDict()
        self._series: OrderedDict[str, _Series] = OrderedDict()
        self._held = 0

    def remembered(self, uid: str) -> Study | None:
        """Return a study that was looked up a moment ago."""
        found = self._studies.get(uid)
        return found[1] if found is not None and found[0] > time.monotonic() else None

    async def study(self, uid: str) -> Study | None:
        """Look a study up."""
        study = await self._index.study(uid)
        if study is not None:
            self._studies[uid] = (time.monotonic() + _SECONDS, study)
            self._studies.move_to_end(uid)
            if len(self._studies) > _MOST_STUDIES:
                self._studies.popitem(last=False)
        return study

    async def instance(self, study: str, series: str, uid: str) -> Instance | None:
        """Return an instance; of one that is in this series little else than where it lies."""
        now = time.monotonic()
        known = self._series.get(series)
        if known is None or known.until <= now:
            self._drop(series)
            known = self._series[series] = _Series(until=now + _SECONDS)
        if uid in known.instances:
            return known.instances[uid]
        known.asked += 1
        if known.asked == _SINGLY:
            found = {one.uid: _small(one) for one in await self._index.instances(study, series)}
            if self._series.get(series) is known:
                known.instances, known.until = found, time.monotonic() + _SECONDS
                self._held += len(found)
                while self._held > _MOST_INSTANCES:
                    self._drop(next(iter(self._series)))
            if uid in found:
                return found[uid]
        return await self._index.instance(uid)

    def forget(self) -> None:
        """Look up everything anew."""
        self._studies.clear()
        self._series.clear()
        self._held = 0

    def _drop(self, series: str) -> None:
        known = self._series.pop(series, None)
        if known is not None:
            self._held -= len(known.instances)


def _small(instance: Instance) -> Instance:
    attributes: Attributes = {tag: instance.attributes[tag] for tag in _NEEDED if tag in instance.attributes}
    return msgspec.structs.replace(instance, attributes=attributes)
