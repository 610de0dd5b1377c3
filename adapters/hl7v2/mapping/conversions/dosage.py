"""A prescription's instruction (TQ1, RXE, RXR as JAHIS writes them) as FHIR Dosage: computable, and in Japanese."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import msgspec

from adapters.hl7v2.mapping.conversions.jami_usage import (
    Kind,
    Supplement,
    Usage,
    decode,
    decode_supplement,
    usage_text,
)
from adapters.hl7v2.mapping.conversions.quantities import UCUM, days, quantity, wide
from adapters.hl7v2.mapping.conversions.timing import Share, repeat_pattern, shares, span
from adapters.hl7v2.mapping.draft import Element

_JAMI = "http://jami.jp/CodeSystem/"
USAGE, SUPPLEMENT, EVENT = (
    _JAMI + "MedicationUsage",
    _JAMI + "MedicationUsageAdditional",
    _JAMI + "MedicationEventTriggered",
)
BASIC, DETAIL = _JAMI + "MedicationMethodBasicUsage", _JAMI + "MedicationMethodDetailUsage"
BODY_SITE = _JAMI + "MedicationBodySiteExternal"
_STRUCTURE = "http://jpfhir.jp/fhir/core/Extension/StructureDefinition/JP_MedicationDosage_"
_DUMMY = re.compile(r"0X0X{9}0{4}")
_EPRESCRIPTION = "http://jpfhir.jp/fhir/core/mhlw/CodeSystem/MedicationUsage_ePrescription"


class Coded(msgspec.Struct, frozen=True):
    """A code with its words and the URI of its system; any may be empty."""

    code: str = ""
    text: str = ""
    system: str = ""

    def coding(self) -> Element:
        """Build a Coding."""
        parts = {"system": self.system, "code": self.code, "display": self.text}
        return {name: value for name, value in parts.items() if value}

    def concept(self) -> Element:
        """Build a CodeableConcept; words alone become its text."""
        if not self.code:
            return {"text": self.text}
        return {"coding": [self.coding()], "text": self.text} if self.text else {"coding": [self.coding()]}


class Unit(msgspec.Struct, frozen=True):
    """A unit as sent: code, words, URI of its system."""

    code: str = ""
    text: str = ""
    system: str = ""

    def of(self, value: Decimal) -> Element:
        """Build a Quantity of this unit."""
        return quantity(value, self.code, self.text, self.system)

    @property
    def word(self) -> str:
        """The unit as it is read aloud."""
        return self.text or self.code


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """What the fields of one drug say. ``patterns`` are TQ1-3's repetitions, ``instructions`` RXE-7's.

    ``days`` are days on which the drug is taken; ``start`` and ``end`` FHIR dateTimes; ``times`` clock times; ``limit``
    the text of TQ1-11; ``count`` the doses given out when taken as needed; ``per_day`` amount and unit of a day.
    """

    patterns: Sequence[Coded] = ()
    instructions: Sequence[Coded] = ()
    dose: Decimal | None = None
    dose_high: Decimal | None = None
    unit: Unit = Unit()
    per_day: tuple[Decimal, Unit] | None = None
    strength_type: Coded | None = None
    days: Decimal | None = None
    start: str = ""
    end: str = ""
    times: Sequence[str] = ()
    limit: str = ""
    count: Decimal | None = None
    as_needed: bool = False
    route: Coded | None = None
    site: Element | None = None


class _Read(msgspec.Struct):
    """The instruction's codes, decoded."""

    usage: Usage | None
    main: Coded | None
    supplements: list[Supplement]
    additional: list[Coded]
    table: Element | None
    event: Coded | None
    uneven: bool = False


def dosage(instruction: Instruction) -> list[Element]:
    """Build the Dosages: one, or several of the same ``sequence`` where amounts or moments differ within a day."""
    read = _read(instruction)
    if read.usage:
        parts = shares(read.usage, read.supplements)
    elif read.table is not None:
        parts = [Share(read.table)]
    else:
        parts = [Share({})]
    read.uneven = any(part.dose is not None for part in parts)
    built = [_one(instruction, read, part, first=not place) for place, part in enumerate(parts)]
    if len(built) > 1:
        built = [{"sequence": 1, **one} for one in built]
    return [one for one in built if one]


def is_need(code: str) -> bool:
    """Tell whether a code of table 0335 says that a dose waits for a need (PRNpain)."""
    return code.strip().upper().startswith("PRN")


def is_as_needed(instruction: Instruction) -> bool:
    """Tell whether the drug is taken only when needed (頓用)."""
    read = _read(instruction)
    return instruction.as_needed or bool(read.usage and read.usage.as_needed) or read.event is not None


def _read(instruction: Instruction) -> _Read:
    read = _Read(None, None, [], [], None, None)
    for coded in instruction.patterns:
        code = coded.code.strip()
        usage, supplement = decode(code), decode_supplement(code)
        if (usage or _DUMMY.fullmatch(code)) and read.main is None:
            read.usage, read.main = usage, coded
        elif supplement:
            read.supplements.append(supplement)
            read.additional.append(Coded(code, coded.text or supplement.text, SUPPLEMENT))
        elif is_need(code):
            read.event = coded
        elif (table := repeat_pattern(code)) is not None and read.table is None:
            read.table, read.main = table, read.main or coded
        elif read.main is None:
            read.main = coded
        else:
            read.additional.append(coded)
    for coded in instruction.instructions:
        if supplement := decode_supplement(coded.code):
            read.supplements.append(supplement)
            read.additional.append(Coded(coded.code.strip(), coded.text or supplement.text, SUPPLEMENT))
        else:
            read.additional.append(coded)
    return read


def _one(instruction: Instruction, read: _Read, share: Share, *, first: bool) -> Element:
    element: Element = {}
    if extensions := _extensions(instruction):
        element["extension"] = extensions
    if text := _text(instruction, read, share):
        element["text"] = text
    if additional := [one.concept() for one in read.additional if _concerns(one, share)]:
        element["additionalInstruction"] = additional
    if instruction.limit:
        element["patientInstruction"] = instruction.limit
    if timing := _timing(instruction, read, share):
        element["timing"] = timing
    element |= _as_needed(instruction, read)
    if instruction.site:
        element["site"] = instruction.site
    if instruction.route:
        element["route"] = instruction.route.concept()
    if read.usage:
        element["method"] = {"coding": _method(read.usage)}
    if amount := _dose_and_rate(instruction, read, share, first=first):
        element["doseAndRate"] = [amount]
    if limit := _most(instruction, read):
        element["maxDosePerPeriod"] = limit
    return element


def _extensions(instruction: Instruction) -> list[Element]:
    found: list[Element] = []
    if instruction.start or instruction.end:
        period = {name: value for name, value in (("start", instruction.start), ("end", instruction.end)) if value}
        found.append({"url": _STRUCTURE + "PeriodOfUse", "valuePeriod": period})
    if instruction.days is not None:
        found.append({"url": _STRUCTURE + "UsageDuration", "valueDuration": days(instruction.days)})
    return found


def _concerns(coded: Coded, share: Share) -> bool:
    """An uneven dose's code stands at its own share only."""
    supplement = decode_supplement(coded.code) if coded.system == SUPPLEMENT else None
    return not (supplement and supplement.kind is Kind.DOSE and share.dose is not None) or supplement.dose == share.dose


def _text(instruction: Instruction, read: _Read, share: Share) -> str:
    """The message's own words, then those of the supplements, the dose, and for how long."""
    parts: list[str] = []
    if read.main and read.main.text:
        parts.append(read.main.text)
    elif read.usage:
        parts.append(usage_text(read.usage))
    elif read.main:
        parts.append(read.main.code)
    if read.event:
        parts.append(read.event.text or read.event.code)
    parts += [one.text for one in read.additional if one.text and _kind(one) is not Kind.DOSE]
    dose = share.dose if share.dose is not None else instruction.dose
    if dose is not None and instruction.unit.word:
        amount = f"{wide(dose)}{instruction.unit.word}"
        high = instruction.dose_high
        if share.dose is not None:
            parts.append(f"{wide(share.words)}{amount}")
        elif high is not None and high > dose and not read.uneven:
            parts.append(f"１回{wide(dose)}～{wide(high)}{instruction.unit.word}")
        else:
            parts.append(f"１回{amount}")
    if instruction.limit:
        parts.append(instruction.limit)
    if instruction.days is not None:
        parts.append(f"{wide(instruction.days)}日分")
    if instruction.count is not None:
        parts.append(f"{wide(instruction.count)}回分")
    return "　".join(part.strip() for part in parts if part.strip())


def _kind(coded: Coded) -> Kind | None:
    supplement = decode_supplement(coded.code) if coded.system == SUPPLEMENT else None
    return supplement.kind if supplement else None


def _timing(instruction: Instruction, read: _Read, share: Share) -> Element:
    repeat = {**_bounds(instruction, read), **share.repeat}
    if instruction.times and "when" not in repeat:
        pattern = {"frequency": len(instruction.times), "period": 1, "periodUnit": "d"}
        repeat = pattern | repeat | {"timeOfDay": list(instruction.times)}
    timing: Element = {"repeat": repeat} if repeat else {}
    if read.main:
        timing["code"] = _usage_concept(read.main)
    return timing


def _usage_concept(main: Coded) -> Element:
    code = main.code.strip()
    if _DUMMY.fullmatch(code):
        system = _EPRESCRIPTION
    elif decode(code):
        system = _EPRESCRIPTION if main.system == _EPRESCRIPTION else USAGE
    else:
        system = main.system
    return Coded(code, main.text, system).concept()


def _bounds(instruction: Instruction, read: _Read) -> Element:
    """Days of use as calendar days from first to last where they can be counted, else what the period says."""
    if instruction.days is not None and instruction.days == instruction.days.to_integral_value():
        recurring = [one for one in read.supplements if one.kind is not Kind.DOSE]
        calendar = span(int(instruction.days), _day(instruction.start), recurring) if instruction.days > 0 else None
        if calendar is not None:
            value = instruction.days if calendar == instruction.days else Decimal(calendar)
            return {"boundsDuration": days(value)}
    if instruction.days is not None and instruction.days % 1:
        return {"boundsDuration": days(instruction.days)}
    period = {name: value for name, value in (("start", instruction.start), ("end", instruction.end)) if value}
    return {"boundsPeriod": period} if period else {}


def _day(moment: str) -> date | None:
    return date.fromisoformat(moment[:10]) if len(moment) >= 10 else None


def _as_needed(instruction: Instruction, read: _Read) -> Element:
    usage = read.usage
    if read.event:
        return {"asNeededCodeableConcept": read.event.concept()}
    if usage and usage.as_needed and usage.event.strip("0"):
        words = usage.event_name or (read.main.text.split("・")[-1].strip() if read.main else "")
        return {"asNeededCodeableConcept": Coded(usage.event, words, EVENT).concept()}
    if instruction.as_needed or (usage and usage.as_needed):
        return {"asNeededBoolean": True}
    return {}


def _method(usage: Usage) -> list[Element]:
    basic = Coded(usage.basic, usage.basic_name, BASIC).coding()
    return [basic, Coded(usage.detail, usage.detail_name, DETAIL).coding()]


def _dose_and_rate(instruction: Instruction, read: _Read, share: Share, *, first: bool) -> Element:
    element: Element = {}
    dose = share.dose if share.dose is not None else instruction.dose
    high = instruction.dose_high
    if dose is not None and share.dose is None and high is not None and high > dose and not read.uneven:
        element["doseRange"] = {"low": instruction.unit.of(dose), "high": instruction.unit.of(high)}
    elif dose is not None:
        element["doseQuantity"] = instruction.unit.of(dose)
    if instruction.per_day and first:
        amount, unit = instruction.per_day
        element["rateRatio"] = {"numerator": unit.of(amount), "denominator": days(Decimal(1))}
    if element and instruction.strength_type:
        element = {"type": instruction.strength_type.concept(), **element}
    return element


_MOST = re.compile(r"1\s*日\s*([0-9]{1,2})\s*回\s*(?:まで|以内)")


def most_a_day(text: str) -> int | None:
    """Find how often a day a drug may be taken in words such as １日２回まで."""
    found = _MOST.search(unicodedata.normalize("NFKC", text))
    return int(found[1]) if found else None


def _most(instruction: Instruction, read: _Read) -> Element | None:
    times = most_a_day(instruction.limit) or (read.usage.most_a_day if read.usage else None)
    if not times or instruction.dose is None:
        return None
    most = max(instruction.dose, instruction.dose_high or instruction.dose) * times
    day: Element = {"value": 1, "unit": "日", "system": UCUM, "code": "d"}
    return {"numerator": instruction.unit.of(most), "denominator": day}
