"""Messages to receive: invented patients."""


def adt(
    control: str = "1",
    *,
    trigger: str = "A08",
    patient: str = "9999013",
    name: str = "TARO",
    tail: str = "",
    **msh: str,
) -> bytes:
    """An ADT in ASCII; ``msh`` replaces fields of MSH by number (``f11="T"``)."""
    return message(
        control, f"ADT^{trigger}", f"EVN||20231114220000\rPID|||{patient}^^^^PI||{name}\rPV1||O\r{tail}", **msh
    )


def message(control: str, type_: str, body: str, **msh: str) -> bytes:
    """A message in ASCII."""
    return (header(control, type_, **msh) + "\r" + body).encode("ascii")


def header(control: str = "1", type_: str = "ADT^A08", **msh: str) -> str:
    """MSH with fields replaced by number."""
    fields = ["MSH", "^~\\&", "HIS", "H1", "REN", "R1", "20231114220001", "", type_, control, "P", "2.5"]
    for key, value in msh.items():
        number = int(key[1:])
        fields += [""] * (number - len(fields))
        fields[number - 1] = value
    return "|".join(fields)


#: 山田^太郎 with a 7C, a 5E and a 5C byte within kanji further on
KANJI = "PID|||9999013^^^^PI||山田^太郎^^^^^L^I~ヤマダ^タロウ^^^^^L^P\r"


def japanese(control: str = "1", body: str = KANJI) -> bytes:
    """An ADT^A08 as SS-MIX2 writes it."""
    text = header(control, f18="~ISO IR87", f20="ISO 2022-1994") + "\rEVN||20231114220000\r" + body + "PV1||O\r"
    return text.encode("iso2022_jp")


OBSERVATIONS = "PID|||9999013^^^^PI||TARO\rOBR|1|||X^TEST\rOBX|1|NM|GLU^Glucose||5.2|mmol/L|||||F\r"
