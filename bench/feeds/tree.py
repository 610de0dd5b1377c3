"""SS-MIX2 storages of any size: invented patients' lives as files, written or only enumerated."""

import random
from collections.abc import Iterator
from pathlib import Path

from bench.feeds import messages
from bench.feeds.messages import NO_ORDER, Case, Illness, Made
from bench.feeds.patients import DEPARTMENTS, FACILITY, WARDS, Person, people
from bench.feeds.segments import Moment


def files(seed: int, count: int, *, per_patient: int = 40) -> Iterator[Made]:
    """Yield ``count`` files, patient by patient, each patient's in the order they were produced."""
    left = count
    for person in people(seed):
        for made in life(seed, person, min(per_patient, left)):
            yield made
            left -= 1
            if not left:
                return


def life(seed: int, person: Person, count: int) -> list[Made]:
    """Return about ``count`` files (at least one) of one patient's history, as produced one after the other."""
    teller = _Teller(seed, person)
    teller.basic()
    while len(teller.told) < count:
        if teller.dice.random() < 0.3:
            teller.stay()
        else:
            teller.visit()
    return flagged(teller.told[: max(count, 1)])


def flagged(told: list[Made]) -> list[Made]:
    """Return the files with an earlier one of the same key as history."""
    newest = {made[:4]: at for at, made in enumerate(told)}
    return [made._replace(flag="1" if newest[made[:4]] == at else "2") for at, made in enumerate(told)]


def write(root: Path, made: Iterator[Made]) -> int:
    """Write the files below ``root`` (the facility's folder); return their number."""
    known: set[Path] = set()
    number = 0
    for one in made:
        path = root / one.path
        if path.parent not in known:
            path.parent.mkdir(parents=True, exist_ok=True)
            known.add(path.parent)
        path.write_bytes(one.raw)
        number += 1
    return number


def storage(folder: Path, seed: int, count: int, *, per_patient: int = 40) -> Path:
    """Write a storage of ``count`` files and return its root."""
    root = folder / FACILITY
    write(root, files(seed, count, per_patient=per_patient))
    return root


def transaction(made: Made, processing: str = "INS") -> bytes:
    """Return the message as an entry of the transaction storage, its header line first."""
    day = "" if made.day == "-" else made.day
    header = (
        f"#SSMIX,2.00,{FACILITY},{made.patient},{day},{made.data_type},{made.order},{processing},"
        f"{made.department},{made.moment.digits}"
    )
    return header.encode() + b"\r\n" + made.raw + b"\r\n"


class _Teller:
    """Tells one patient's life: time only goes forward."""

    def __init__(self, seed: int, person: Person) -> None:
        self.person = person
        self.dice = random.Random(f"life {seed} {person.number}")
        self.told: list[Made] = []
        self._minutes = self.dice.randrange(0, 300_000)
        self._orders = 0
        self._ill: list[Illness] = []
        self._department = self.dice.choice(DEPARTMENTS)

    def basic(self) -> None:
        """Tell who it is, and who is in charge."""
        self._tell(messages.adt_00(self._case()))
        if self.dice.random() < 0.5:
            self._tell(messages.adt_61(self._case()))
        if self.dice.random() < 0.3:
            self._tell(messages.adt(self._case(), "ADT-01", ""))

    def visit(self) -> None:
        """Tell an outpatient's day."""
        self._wait(1440 * self.dice.randint(7, 60))
        case = self._case()
        self._tell(messages.adt(case, "ADT-12", case.moment.minute))
        if self.dice.random() < 0.3:
            case = self._case()
            self._ill += messages.illnesses(self.dice, case.moment, self.dice.randint(1, 2))
            self._tell(messages.ppr_01(case, self._ill))
        for _ in range(self.dice.randint(1, 3)):
            self._order(inpatient=False)
        if self.dice.random() < 0.1:
            self._again()

    def stay(self) -> None:
        """Tell an inpatient's stay from its plan to the discharge."""
        self._wait(1440 * self.dice.randint(20, 90))
        room = self.dice.choice(WARDS)
        admitted = self._later(3 * 1440)
        self._tell(messages.adt(self._case(room=room, inpatient=True), "ADT-21", admitted))
        self._wait(3 * 1440)
        self._move("ADT-22", room, admitted=admitted, happened=admitted)
        for _ in range(self.dice.randint(2, 6)):
            self._wait(720)
            self._order(inpatient=True, room=room)
        if self.dice.random() < 0.4:
            self._move("ADT-31", room, admitted=admitted)
            self._wait(1440)
            self._move("ADT-32", room, admitted=admitted)
        if self.dice.random() < 0.5:
            room = self.dice.choice(WARDS)
            self._move("ADT-41", room, admitted=admitted, happened=self._later(1440))
            self._wait(1440)
            self._move("ADT-42", room, admitted=admitted)
        self._move("ADT-51", room, admitted=admitted, happened=self._later(1440))
        self._wait(1440)
        self._move("ADT-52", room, admitted=admitted)

    def _move(self, data_type: str, room: tuple[str, str], *, admitted: str, happened: str = "") -> None:
        case = self._case(room=room, inpatient=True)
        self._tell(messages.adt(case, data_type, happened or case.moment.minute, admitted=admitted))

    def _order(self, *, inpatient: bool, room: tuple[str, str] = WARDS[0]) -> None:
        roll = self.dice.random()
        first = self._case(order=True, inpatient=inpatient, room=room)
        if roll < 0.25:
            self._tell(messages.omp_01(first, self.dice.randint(1, 5)))
            if inpatient:
                self._tell(messages.omp_11(self._case(as_order=first.order, inpatient=True, room=room)))
        elif roll < 0.6:
            self._tell(messages.oml_01(first))
            self._wait(90)
            case = self._case(as_order=first.order, inpatient=inpatient, room=room)
            self._tell(messages.oml_11(case, self.dice.randint(4, 18)))
        elif roll < 0.75:
            if inpatient:
                self._tell(messages.omd(first))
                first = self._case(order=True, inpatient=True, room=room)
            self._tell(messages.omp_02(first))
            self._tell(messages.omp_12(self._case(as_order=first.order, inpatient=inpatient, room=room)))
        else:
            which = self.dice.choice("123")
            self._tell(messages.omg_order(first, f"OMG-0{which}"))
            self._wait(60)
            case = self._case(as_order=first.order, inpatient=inpatient, room=room)
            self._tell(messages.omg_13(case) if which == "3" else messages.omg_done(case, f"OMG-1{which}"))

    def _again(self) -> None:
        """Tell the basic data anew: the earlier file becomes history."""
        self._tell(messages.adt_00(self._case()))

    def _case(
        self, *, order: bool = False, as_order: str = "", inpatient: bool = False, room: tuple[str, str] = WARDS[0]
    ) -> Case:
        self._wait(self.dice.randint(1, 15))
        if order:
            self._orders += 1
            as_order = f"{self.person.number % 10**6:06}{self._orders:09}"
        moment = Moment(f"{self._digits(self._minutes)}{self.dice.randint(0, 59):02}{self.dice.randint(0, 999):03}")
        return Case(
            self.person, moment, self._department, self.dice.randrange(4), self.dice, inpatient, room,
            f"{self.person.number % 10**6:06}{len(self.told):08}", as_order or NO_ORDER,
        )  # fmt: skip

    def _tell(self, made: Made) -> None:
        self.told.append(made)

    def _wait(self, minutes: int) -> None:
        self._minutes += minutes

    def _later(self, minutes: int) -> str:
        return self._digits(self._minutes + minutes)

    @staticmethod
    def _digits(minutes: int) -> str:
        """Return minutes since 2023-01-01 in years of twelve months of 28 days, which every calendar has."""
        days, rest = divmod(minutes, 1440)
        months, day = divmod(days, 28)
        years, month = divmod(months, 12)
        return f"{2023 + years:04}{month + 1:02}{day + 1:02}{rest // 60:02}{rest % 60:02}"
