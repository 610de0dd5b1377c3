"""The JAMI standard usage code (標準用法コード): 16 digits for when and how a drug is taken, 8 for the rest.

What is decoded is the published structure, digit by digit; the code lists themselves are not part of it.
"""

import enum
from decimal import Decimal

import msgspec

_BASIC = {"1": "内服", "2": "外用", "3": "注射", "4": "注入"}
_DETAIL = {
    "10": "経口",
    "11": "舌下",
    "12": "バッカル",
    "2A": "貼付",
    "2B": "塗布",
    "2C": "湿布",
    "2G": "点耳",
    "2H": "点眼",
    "2J": "点鼻",
    "2K": "うがい",
    "2L": "吸入",
    "2R": "肛門挿入",
    "2T": "膣内",
    "30": "静脈注射",
    "31": "中心静脈注射",
    "32": "皮下注射",
    "33": "筋肉内注射",
    "35": "動脈注射",
    "40": "腹膜透析",
}
_EVENTS = {"110": "疼痛時", "480": "空腹時", "W10": "必要時"}

#: digit -> (FHIR event code without its meal, minutes from it, Japanese)
_MEAL = {
    "1": ("AC", None, "前"),
    "2": ("AC", 0, "直前"),
    "3": ("PC", 0, "直後"),
    "4": ("PC", None, "後"),
    "5": ("PC", 120, "２時間後"),
}
#: position (from 0) -> (meal letter of FHIR, time of day of FHIR, Japanese, hour by which moments are put in order)
_DAY = {7: ("M", "MORN", "朝", 8), 6: ("D", "NOON", "昼", 12), 5: ("V", "EVE", "夕", 18)}
_WAKING_HOUR, _BED_HOUR = 5, 22
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WEEKDAY_NAMES = ("日曜日", "月曜日", "火曜日", "水曜日", "木曜日", "金曜日", "土曜日")
_FULL_WIDTH = str.maketrans("0123456789.", "０１２３４５６７８９．")
_HOURS_A_DAY = 24


class Moment(msgspec.Struct, frozen=True):
    """One moment of the day: a FHIR event code with its offset in minutes, or a time; ``name`` and ``relation`` in
    Japanese (朝, 食後)."""

    name: str
    when: str = ""
    offset: int | None = None
    time: str = ""
    relation: str = ""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded code: ``frequency`` times in ``period`` hours or days, at ``moments`` in the order of the day.

    ``event`` is the code of what a dose waits for (as needed) or goes with; ``most_a_day`` limits doses as needed.
    """

    code: str
    basic: str
    detail: str
    frequency: int | None = None
    period: int = 1
    period_unit: str = "d"
    moments: tuple[Moment, ...] = ()
    as_needed: bool = False
    event: str = ""
    most_a_day: int | None = None
    device: str = ""

    @property
    def basic_name(self) -> str:
        """Say the first digit in Japanese."""
        return _BASIC.get(self.basic, "")

    @property
    def detail_name(self) -> str:
        """Say the first two digits in Japanese; empty if the route is not among the published ones."""
        return _DETAIL.get(self.detail, "")

    @property
    def event_name(self) -> str:
        """Say the event in Japanese; empty if it is not among the published ones."""
        return _EVENTS.get(self.event, "")


def decode(code: str) -> Usage | None:
    """Decode 16 digits; None for what is not such a code, among them the dummy which stands for 'no code'."""
    code = code.strip().upper()
    if len(code) != 16 or not code.isascii() or not code.isalnum() or code[0] not in _BASIC or code.startswith("0X"):
        return None
    kind, count = code[2], code[3]
    usage = Usage(code=code, basic=code[0], detail=code[:2], device="" if code[14:] == "00" else code[14:])
    times = int(count) if count.isdigit() and count != "0" else None
    if kind == "5":
        most = int(code[8]) if code[8].isdigit() and code[8] != "0" else None
        return msgspec.structs.replace(usage, as_needed=True, event=code[4:7], most_a_day=most)
    if kind == "4":
        return msgspec.structs.replace(usage, frequency=times, event=code[4:7])
    if kind == "2" and times:
        if _HOURS_A_DAY % times:
            return msgspec.structs.replace(usage, frequency=times)
        return msgspec.structs.replace(usage, frequency=1, period=_HOURS_A_DAY // times, period_unit="h")
    moments = _moments(code) if kind in "136" else ()
    if moments is None or (moments and times and len(moments) != times):
        return msgspec.structs.replace(usage, frequency=times)
    return msgspec.structs.replace(usage, frequency=times or len(moments) or None, moments=moments)


def _moments(code: str) -> tuple[Moment, ...] | None:
    """Read positions 5 to 14; None if a digit means nothing."""
    found: list[tuple[int, Moment]] = []
    if code[8] == "9":
        found.append((_WAKING_HOUR, Moment("起床時", when="WAKE")))
    for place, (letter, event, name, hour) in _DAY.items():
        digit = code[place]
        if digit == "9":
            found.append((hour, Moment(name, when=event)))
        elif digit in _MEAL:
            relation, offset, text = _MEAL[digit]
            found.append((hour, Moment(name, when=relation + letter, offset=offset, relation="食" + text)))
        elif digit != "0":
            return None
    for letter in code[9:14]:
        if letter != "0":
            hour = _number(letter) - 10
            if not 0 <= hour < _HOURS_A_DAY:
                return None
            name = f"{hour}時".translate(_FULL_WIDTH)
            found.append((hour, Moment(name, time=f"{hour:02}:00:00")))
    if code[4] in "19":
        found.append((_BED_HOUR, Moment("就寝前", when="HS")))
    found.sort(key=lambda pair: pair[0])
    return tuple(moment for _, moment in found)


def _number(digit: str) -> int:
    """Read one digit of 0-9, A = 10 … Z = 35; -1 for anything else."""
    return int(digit, 36) if digit.isascii() and digit.isalnum() else -1


class Kind(enum.StrEnum):
    """What a supplementary code says."""

    INTERVAL = "interval"
    WEEKDAYS = "weekdays"
    DATES = "dates"
    CYCLE = "cycle"
    DOSE = "dose"


class Supplement(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded 8-digit code.

    INTERVAL: ``on`` days with the drug, ``off`` without. WEEKDAYS: ``weekdays`` by FHIR code. DATES: ``days`` of
    ``month`` (0 = every). CYCLE: ``on`` times a ``unit``. DOSE: the ``slot``-th dose of the day is ``dose``.
    """

    kind: Kind
    code: str
    text: str
    on: int = 0
    off: int = 0
    weekdays: tuple[str, ...] = ()
    month: int = 0
    days: tuple[int, ...] = ()
    unit: str = ""
    slot: int = 0
    dose: Decimal | None = None


_CYCLES = {"D": ("d", "日"), "W": ("wk", "週"), "M": ("mo", "月"), "Y": ("a", "年")}


def decode_supplement(code: str) -> Supplement | None:
    """Decode 8 digits; None for what is not such a code."""
    code = code.strip().upper()
    if len(code) != 8 or not code.isascii():
        return None
    match code[0]:
        case "I":
            return _interval(code)
        case "W":
            return _weekdays(code)
        case "D":
            return _dates(code)
        case "C":
            return _cycle(code)
        case "V":
            return _dose(code)
    return None


def _interval(code: str) -> Supplement | None:
    on, off = code[1], code[2]
    if not (on.isdigit() and off.isdigit()) or on == "0" or off == "0":
        return None
    if on == "1":
        text = f"{off}日おき"
    else:
        text = f"{on}日投与{off}日休薬"
    return Supplement(kind=Kind.INTERVAL, code=code, text=text.translate(_FULL_WIDTH), on=int(on), off=int(off))


def _weekdays(code: str) -> Supplement | None:
    if set(code[1:]) - {"0", "1"} or "1" not in code[1:]:
        return None
    places = [place for place, bit in enumerate(code[1:]) if bit == "1"]
    return Supplement(
        kind=Kind.WEEKDAYS,
        code=code,
        text="、".join(_WEEKDAY_NAMES[place] for place in places),
        weekdays=tuple(_WEEKDAYS[place] for place in places),
    )


def _dates(code: str) -> Supplement | None:
    month = _number(code[1])
    days = tuple(_number(letter) for letter in code[2:] if letter != "0")
    if not 0 <= month <= 12 or not days or not all(1 <= day <= 31 for day in days):
        return None
    if month:
        text = "、".join(f"{month}月{day}日" for day in days)
    else:
        text = "毎月" + "、".join(f"{day}日" for day in days)
    return Supplement(kind=Kind.DATES, code=code, text=text, month=month, days=days)


def _cycle(code: str) -> Supplement | None:
    if code[1] not in _CYCLES or not code[2].isdigit() or code[2] == "0":
        return None
    unit, name = _CYCLES[code[1]]
    text = f"{name}{code[2]}回".translate(_FULL_WIDTH)
    return Supplement(kind=Kind.CYCLE, code=code, text=text, on=int(code[2]), unit=unit)


def _dose(code: str) -> Supplement | None:
    amount = code[2:].rstrip("N")
    whole, _, part = amount.partition(".")
    if not code[1].isdigit() or code[1] == "0" or not whole.isdigit() or (part and not part.isdigit()):
        return None
    text = f"{code[1]}回目{amount}".translate(_FULL_WIDTH)
    return Supplement(kind=Kind.DOSE, code=code, text=text, slot=int(code[1]), dose=Decimal(amount.rstrip(".")))


def usage_text(usage: Usage) -> str:
    """Say a usage in the words of the standard master: 内服・経口・１日３回朝昼夕食後."""
    head = [part for part in (usage.basic_name, usage.detail_name) if part]
    if usage.as_needed:
        words = usage.event_name or "頓用"
        if usage.most_a_day:
            words += f" １日{usage.most_a_day}回まで".translate(_FULL_WIDTH)
        return "・".join([*head, words])
    if usage.period_unit == "h":
        words = f"１日{_HOURS_A_DAY // usage.period}回{usage.period}時間毎"
    elif usage.frequency:
        words = f"１日{usage.frequency}回" + (_moments_text(usage.moments) or usage.event_name)
    else:
        words = ""
    return "・".join([*head, words.translate(_FULL_WIDTH)] if words else head)


def _moments_text(moments: tuple[Moment, ...]) -> str:
    """Say 朝昼夕食後と就寝前: moments of one relation are drawn together, bedtime stands last."""
    parts = [
        "".join(moment.name for moment in moments if moment.relation == relation) + relation
        for relation in dict.fromkeys(moment.relation for moment in moments if moment.relation)
    ]
    loose = [moment for moment in moments if not moment.relation]
    waking = [moment.name for moment in loose if moment.when == "WAKE"]
    daily = "".join(moment.name for moment in loose if moment.when in {"MORN", "NOON", "EVE"})
    hours = [moment.name for moment in loose if moment.time]
    bed = [moment.name for moment in loose if moment.when == "HS"]
    parts = [*waking, *([daily] if daily else []), *parts, *hours, *bed]
    return ("と" if len(parts) == 2 else "、").join(parts)
