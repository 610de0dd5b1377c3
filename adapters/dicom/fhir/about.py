"""What a report belongs to, and how resources made from it are named and referenced."""

import re
import uuid
from datetime import UTC, date, datetime, tzinfo
from typing import Any

import msgspec

from adapters.dicom.fhir.codes import text
from adapters.dicom.model import Attributes

UID_SYSTEM = "urn:dicom:uid"
_SPACE = uuid.UUID("6f1b8f0e-6a0e-5b52-9d0c-6a3f4dfb0c55")
_DATE = re.compile(r"(\d{4})[.]?(\d{2})[.]?(\d{2})")
_TIME = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(?:\.\d{1,6})?")
_DATE_TIME = re.compile(r"(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?(?:\.\d{1,6})?([+-]\d{4})?")

Resource = dict[str, Any]  # JSON


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The study of a report: references as they stand in the transaction, or ``Type/id``. ``zone`` of bare times."""

    subject: str
    imaging_study: str
    study: str
    instance: str
    sop_class: str
    zone: tzinfo
    received: int  # ms since 1970 UTC
    orders: tuple[str, ...] = ()  # ServiceRequest references

    def id_of(self, kind: str, path: str = "") -> str:
        """Return the logical id of what is made from this object: always the same for the same place in it."""
        return str(uuid.uuid5(_SPACE, f"{kind} {self.instance} {path}"))

    def common(self) -> Resource:
        """Return what every resource of a report says of its surroundings."""
        found: Resource = {"subject": {"reference": self.subject}}
        if self.orders:
            found["basedOn"] = [{"reference": order} for order in self.orders]
        return found

    def moment(self, day: str, time: str) -> str | None:
        """Return a dateTime of DA and TM values (PS3.5 6.2); None where the day is no day."""
        return moment(day, time, self.zone)

    def point(self, value: str) -> str | None:
        """Return a dateTime of a DT value (PS3.5 6.2), with its own zone if it has one."""
        found = _DATE_TIME.fullmatch(value.strip())
        if not found:
            return None
        year, month, day, hour, minute, second, offset = found.groups()
        if hour is None:
            return self._only_date(year, month, day)
        zone = datetime.strptime(offset, "%z").tzinfo if offset else self.zone
        try:
            at = datetime(
                int(year), int(month), int(day), int(hour), int(minute or 0), min(int(second or 0), 59), tzinfo=zone
            )
        except (TypeError, ValueError):
            return None
        return at.isoformat()

    def _only_date(self, year: str, month: str | None, day: str | None) -> str | None:
        try:
            date(int(year), int(month or 1), int(day or 1))
        except ValueError:
            return None
        return "-".join(part for part in (year, month, day) if part)

    def instant(self) -> str:
        """Return when the object was received, as an instant."""
        return datetime.fromtimestamp(self.received / 1000, UTC).isoformat(timespec="milliseconds")

    def content_time(self, attributes: Attributes) -> str | None:
        """Return the time of the content, or of the series or study where it has none."""
        pairs = (("00080023", "00080033"), ("00080021", "00080031"), ("00080020", "00080030"))
        times = (self.moment(text(attributes, day), text(attributes, time)) for day, time in pairs)
        return next((time for time in times if time), None)


def moment(day: str, time: str, zone: tzinfo) -> str | None:
    """Return a dateTime of DA and TM values (PS3.5 6.2); None where the day is no day."""
    found = _DATE.fullmatch(day)
    if not found:
        return None
    try:
        on = date(*map(int, found.groups()))
    except ValueError:
        return None
    clock = _TIME.fullmatch(time)
    if not clock:
        return on.isoformat()
    hour, minute, second = (int(part or 0) for part in clock.groups())
    if hour > 23 or minute > 59:
        return on.isoformat()
    return datetime(on.year, on.month, on.day, hour, minute, min(second, 59), tzinfo=zone).isoformat()


def uid_identifier(uid: str) -> Resource:
    """Return a UID as an identifier (FHIR R4 imagingstudy.html#dicom)."""
    return {"system": UID_SYSTEM, "value": f"urn:oid:{uid}"}


def as_instant(moment: str | None) -> str | None:
    """Return a dateTime where it is exact enough for an instant."""
    return moment if moment and "T" in moment else None
