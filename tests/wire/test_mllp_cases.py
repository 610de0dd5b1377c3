"""The forty malformed or awkward inputs, over a socket, and the right answer to each."""

import asyncio

import pytest

from adapters.hl7v2.mllp import Frame, frame
from adapters.sources import Grade, Match, Source, Sources
from fhir_server.core.messages import Status
from tests.unit.ingest.samples import OBSERVATIONS, adt, header, japanese, message
from tests.wire.mllp_world import Client, until, world


def errors(answer: object) -> list[tuple[str, str, str]]:
    """ERR-2, the code of ERR-3 and ERR-4 of each ERR."""
    return [(one.raw(2), one.value(3) or "", one.value(4) or "") for one in answer.all("ERR")]  # type: ignore[attr-defined]


async def negative(client: Client, content: bytes, code: str, condition: str, place: str = "") -> None:
    """Expect this code, with this condition of table 0357 at this place."""
    answer = await client.ask(content)
    assert answer.value("MSA-1") == code
    assert (place, condition, "E") in errors(answer), errors(answer)
    assert answer.value("MSA-3")


async def warned(client: Client, content: bytes, condition: str = "", code: str = "AA") -> None:
    """Expect acceptance with a warning."""
    answer = await client.ask(content)
    assert answer.value("MSA-1") == code
    assert any(severity == "W" and condition in ("", found) for _, found, severity in errors(answer)), errors(answer)


# --- framing ---


async def test_01_a_frame_split_anywhere_is_put_together() -> None:
    async with world() as here:
        client = await here.connect()
        data = frame(adt("1"))
        for cut in (1, 2, 10, len(data) - 2, len(data) - 1):
            await client.write(data[:cut])
            await asyncio.sleep(0.02)
            await client.write(data[cut:])
            assert (await client.answer()).value("MSA-1") == "AA"
        assert [row.raw for row in await here.rows()] == [adt("1")]


async def test_02_frames_in_one_write_are_answered_each_in_order() -> None:
    async with world() as here:
        client = await here.connect()
        await client.write(b"".join(frame(adt(str(number))) for number in range(50)))
        assert [(await client.answer()).value("MSA-2") for _ in range(50)] == [str(number) for number in range(50)]
        assert [row.control_id for row in await here.rows()] == [str(number) for number in range(50)]


@pytest.mark.parametrize("gap", [b"\n", b"\r\n", b"\r\r\n"], ids=["lf", "crlf", "more"])
async def test_03_line_ends_between_frames_are_skipped(gap: bytes) -> None:
    async with world() as here:
        client = await here.connect()
        await client.write(frame(adt("1")) + gap + frame(adt("2")))
        assert [(await client.answer()).value("MSA-2") for _ in "12"] == ["1", "2"]
        assert not await here.rows(Status.QUARANTINED)


async def test_04_junk_before_a_frame_is_kept_apart() -> None:
    async with world() as here:
        client = await here.connect()
        assert await answers(client, b"junk" + frame(adt("1"))) == ["AA"]
        assert [row.raw for row in await here.rows(Status.QUARANTINED)] == [b"junk"]
        assert here.listener.counts.odd == 1


async def answers(client: Client, data: bytes, count: int = 1) -> list[str | None]:
    await client.write(data)
    return [(await client.answer()).value("MSA-1") for _ in range(count)]


async def test_05_a_doubled_start_is_one_start() -> None:
    async with world() as here:
        client = await here.connect()
        assert await answers(client, b"\x0b" + frame(adt("1"))) == ["AA"]
        assert [row.raw for row in await here.rows()] == [adt("1")]


async def test_06_an_end_without_cr_ends_the_frame() -> None:
    async with world() as here:
        client = await here.connect()
        assert await answers(client, frame(adt("1"))[:-1] + frame(adt("2")), 2) == ["AA", "AA"]
        assert [row.raw for row in await here.rows()] == [adt("1"), adt("2")]


async def test_06_an_end_without_cr_is_answered_after_a_silence() -> None:
    async with world() as here:
        client = await here.connect()
        assert await answers(client, frame(adt("1"))[:-1]) == ["AA"]
        assert await client.code(adt("2")) == "AA"


async def test_07_a_start_before_the_end_leaves_the_first_unanswered() -> None:
    async with world() as here:
        client = await here.connect()
        await client.write(b"\x0b" + adt("1") + frame(adt("2")))
        assert (await client.answer()).value("MSA-2") == "2"
        assert [row.raw for row in await here.rows(Status.QUARANTINED)] == [adt("1")]


async def test_08_an_empty_frame_is_not_answered() -> None:
    async with world() as here:
        client = await here.connect()
        await client.write(frame(b""), frame(b"\r"), frame(adt("1")))
        assert (await client.answer()).value("MSA-2") == "1"
        assert len(await here.rows()) == 1


async def test_09_a_peer_that_vanishes_within_a_frame_leaves_a_quarantined_part() -> None:
    async with world() as here:
        client = await here.connect()
        await client.write(b"\x0b" + adt("1"))
        await client.close()
        await until(lambda: here.listener.counts.odd == 1)
        await until(lambda: here.listener.counts.open == 0)
        rows = await here.rows()
        assert [(row.raw, row.status) for row in rows] == [(adt("1"), Status.QUARANTINED)]


async def test_09_a_peer_that_stalls_within_a_frame_is_given_up() -> None:
    async with world(frame_timeout=0.1) as here:
        client = await here.connect()
        await client.write(b"\x0b" + adt("1"))
        assert await client.is_closed()
        assert [row.status for row in await here.rows()] == [Status.QUARANTINED]


async def test_10_a_frame_over_the_limit_is_answered_and_the_connection_closed() -> None:
    async with world(frame_limit_mb=0.01) as here:
        client = await here.connect()
        await negative(client, adt("1", tail="NTE|1||" + "x" * 200_000 + "\r"), "AR", "207")
        assert await client.is_closed()
        assert [(row.status, len(row.raw) <= 64 * 1024) for row in await here.rows()] == [(Status.QUARANTINED, True)]


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\x06", b"\x15"],
    ids=["http", "tls", "ack-byte", "nak-byte"],
)
async def test_11_another_protocol_is_closed_without_a_word(data: bytes) -> None:
    async with world() as here:
        client = await here.connect()
        await client.write(data)
        assert await client.is_closed()


# --- characters and segments ---


async def test_12_a_byte_order_mark_is_a_warning() -> None:
    async with world() as here:
        await warned(await here.connect(), b"\xef\xbb\xbf" + adt("1"))
        assert [row.raw for row in await here.rows()] == [b"\xef\xbb\xbf" + adt("1")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
async def test_13_other_line_ends_are_a_warning(end: bytes) -> None:
    async with world() as here:
        await warned(await here.connect(), adt("1").replace(b"\r", end))
        assert [row.lane for row in await here.rows()] == ["HIS.H1/9999013"]


async def test_14_delimiter_bytes_within_kanji_are_no_delimiters() -> None:
    body = "PID|||9999013^^^^PI||"
    trouble = "".join(chr(code) for code in range(0x4E00, 0x5A00) if _has_delimiter(chr(code)))
    async with world() as here:
        client = await here.connect()
        answer = await client.ask(japanese("1", f"{body}{trouble[:60]}^{trouble[60:90]}\r"))
        assert (answer.value("MSA-1"), errors(answer)) == ("AA", [])
        assert answer.value("MSH-18") is None or answer.first("MSH").raw(18) == "~ISO IR87"  # type: ignore[union-attr]


def _has_delimiter(char: str) -> bool:
    try:
        return any(byte in b"|^~\\&" for byte in char.encode("iso2022_jp")[3:-3])
    except UnicodeEncodeError:
        return False


@pytest.mark.parametrize("real", ["cp932", "utf-8"])
async def test_15_bytes_of_another_set_than_declared_are_refused_or_overridden(real: str) -> None:
    text = header("1", f18="~ISO IR87", f20="ISO 2022-1994") + "\rEVN||20231114\rPID|||1||能登^表示\rPV1||O\r"
    async with world() as here:
        await negative(await here.connect(), text.encode(real), "AE", "102", "MSH^1^18")
    configured = Sources([Source(name="his", match=Match(applications=("HIS",)), charset=real)])
    async with world(configured) as here:
        assert await (await here.connect()).code(text.encode(real)) == "AA"
        assert not await here.rows(Status.REFUSED)


@pytest.mark.parametrize("char", ["①", "㈱", "髙"])
async def test_16_vendor_characters_in_jis_are_a_warning(char: str) -> None:
    pair = (
        bytes(byte & 0x7F for byte in char.encode("cp51932" if False else "euc_jis_2004"))
        if char != "髙"
        else b"\x7c\x62"
    )
    raw = japanese("1", "PID|||9999013||@@^A\r").replace(b"@@", b"\x1b$B" + pair + b"\x1b(B")
    async with world() as here:
        await warned(await here.connect(), raw)
        assert [row.raw for row in await here.rows()] == [raw]


async def test_17_a_missing_escape_is_repaired_at_the_line_end() -> None:
    raw = japanese("1", "PID|||9999013||A^山田\r").replace(b"\x1b(B\r", b"\r")
    async with world() as here:
        await warned(await here.connect(), raw)
        assert [row.lane for row in await here.rows()] == ["HIS.H1/9999013"]


async def test_17_roman_delimiters_are_delimiters() -> None:
    raw = japanese("1").replace(b"PID|", b"PID\x1b(J|")
    async with world() as here:
        answer = await (await here.connect()).ask(raw)
        assert answer.value("MSA-1") == "AA"
        assert [row.lane for row in await here.rows()] == ["HIS.H1/9999013"]


async def test_18_control_characters_in_text_are_kept_and_warned_of() -> None:
    raw = adt("1", tail="NTE|1||a\x00b\x1cc\x07d\r")
    async with world() as here:
        await warned(await here.connect(), raw)
        assert [row.raw for row in await here.rows()] == [raw]


@pytest.mark.parametrize(
    "raw",
    [b"PID|1\r" + adt("1"), b"<?xml version='1.0'?><a/>", b'{"a": 1}', b"hello", b"\x00\xff\xfe", b"MS"],
    ids=["pid-first", "xml", "json", "text", "binary", "short"],
)
async def test_19_what_is_no_message_is_refused_without_a_control_id(raw: bytes) -> None:
    async with world() as here:
        client = await here.connect()
        answer = await client.ask(raw)
        assert (answer.value("MSA-1"), answer.first("MSA").raw(2)) == ("AR", "")  # type: ignore[union-attr]
        assert errors(answer)[0][1:] == ("100", "E")
        assert [(row.raw, row.status) for row in await here.rows()] == [(raw, Status.QUARANTINED)]
        assert await client.code(adt("1")) == "AA"


# --- the header ---


async def test_20_a_header_cut_short_is_refused_with_the_first_missing_field() -> None:
    async with world() as here:
        client = await here.connect()
        await negative(client, b"MSH|^~\\&|HIS|H1\r", "AR", "101", "MSH^1^9")
        assert (await client.ask(b"MSH")).value("MSA-1") == "AR"


async def test_21_unusual_delimiters_are_honoured_in_the_answer() -> None:
    raw = adt("1", name="A^B").translate(bytes.maketrans(b"|^~", b"#*!"))
    async with world() as here:
        client = await here.connect()
        await client.write(frame(raw))
        event = await client.event()
        assert isinstance(event, Frame)
        assert event.content.startswith(b"MSH#*!\\&#REN#R1#HIS#H1#")
        assert b"\rMSA#AA#1#" in event.content
        assert [row.lane for row in await here.rows()] == ["HIS.H1/9999013"]


@pytest.mark.parametrize("encoding", ["^~\\", "^~\\&#"], ids=["three", "five"])
async def test_22_another_number_of_delimiters_is_a_warning(encoding: str) -> None:
    async with world() as here:
        answer = await (await here.connect()).ask(adt("1", f2=encoding))
        assert answer.value("MSA-1") == "AA"
        assert [row.lane for row in await here.rows()] == ["HIS.H1/9999013"]


async def test_22_a_delimiter_named_twice_is_refused() -> None:
    async with world() as here:
        await negative(await here.connect(), adt("1", f2="^^\\&"), "AR", "102", "MSH#1#2".replace("#", "^"))


async def test_23_a_missing_type_is_refused() -> None:
    async with world() as here:
        await negative(await here.connect(), adt("1", f9=""), "AR", "101", "MSH^1^9")


async def test_24_a_type_without_structure_is_accepted() -> None:
    async with world() as here:
        answer = await (await here.connect()).ask(adt("1", f9="ADT^A08"))
        assert (answer.value("MSA-1"), errors(answer)) == ("AA", [])


@pytest.mark.parametrize(("type_", "condition"), [("XYZ^A08", "200"), ("ADT^X99", "201"), ("ADT", "201")])
async def test_25_unknown_type_and_unknown_event_have_their_own_codes(type_: str, condition: str) -> None:
    async with world() as here:
        answer = await (await here.connect()).ask(adt("1", f9=type_))
        assert (answer.value("MSA-1"), errors(answer)[0][1]) == ("AR", condition)


async def test_26_a_contradicting_structure_is_a_warning() -> None:
    async with world() as here:
        await warned(await here.connect(), adt("1", f9="ADT^A08^ADT_A39"))
        assert [row.type for row in await here.rows()] == ["ADT^A08"]


async def test_27_a_missing_control_id_is_refused() -> None:
    async with world() as here:
        await negative(await here.connect(), adt(""), "AR", "101", "MSH^1^10")


@pytest.mark.parametrize("processing", ["", "T", "D", "X"])
async def test_28_another_processing_id_than_the_ports_is_refused(processing: str) -> None:
    async with world() as here:
        await negative(await here.connect(), adt("1", f11=processing), "AR", "202", "MSH^1^11")
    async with world(processing=("P", "T")) as here:
        assert await (await here.connect()).code(adt("1", f11="T^A")) == "AA"


async def test_29_versions() -> None:
    async with world() as here:
        client = await here.connect()
        assert await client.code(adt("1", f12="2.5^JPN")) == "AA"
        await warned(client, adt("2", f12="2.9"), "203")
        await negative(client, adt("3", f12="garbage"), "AR", "203", "MSH^1^12")
    async with world(future_versions=False) as here:
        await negative(await here.connect(), adt("2", f12="2.9"), "AR", "203", "MSH^1^12")


@pytest.mark.parametrize(("field", "place"), [("f5", "MSH^1^5"), ("f6", "MSH^1^6")])
async def test_30_a_message_for_someone_else_is_refused(field: str, place: str) -> None:
    async with world(applications=("REN",), facilities=("R1",)) as here:
        client = await here.connect()
        assert await client.code(adt("0")) == "AA"
        await negative(client, adt("1", **{field: "OTHER"}), "AR", "207", place)


async def test_30_an_unknown_sender_is_refused_where_the_port_says_so() -> None:
    configured = Sources([Source(name="his", match=Match(applications=("OTHER",)))])
    async with world(configured, unknown_senders="refuse") as here:
        client = await here.connect()
        await negative(client, adt("1"), "AR", "207", "MSH^1^3")
        assert await client.code(adt("2", f3="OTHER")) == "AA"
        assert [(row.source, row.status) for row in await here.rows()] == [
            ("HIS.H1", Status.REFUSED),
            ("his", Status.RECEIVED),
        ]


# --- repetition, order, content ---


async def test_31_a_repeated_message_gets_the_same_bytes_again() -> None:
    async with world() as here:
        client = await here.connect()
        await client.write(frame(japanese("1")) * 2)
        first, second = await client.event(), await client.event()
        assert first.content == second.content
        again = await here.connect()
        await again.write(frame(japanese("1").replace(b"\r", b"\r\n")))
        assert (await again.event()).content == first.content
        assert [row.answer for row in await here.rows()] == [first.content]
        assert len(here.noted) == 1


async def test_32_one_control_id_for_two_messages_is_refused() -> None:
    async with world() as here:
        client = await here.connect()
        assert await client.code(adt("1", name="TARO")) == "AA"
        await negative(client, adt("1", name="JIRO"), "AE", "205", "MSH^1^10")
        assert [row.status for row in await here.rows()] == [Status.RECEIVED, Status.REFUSED]
        assert await client.code(adt("1", name="TARO")) == "AA"


async def test_32_a_control_id_may_come_again_after_the_window_or_on_another_day() -> None:
    daily = Sources([Source(name="his", match=Match(applications=("HIS",)), duplicate_date=True)])
    async with world(daily) as here:
        client = await here.connect()
        assert await client.code(adt("1", name="TARO")) == "AA"
        assert await client.code(adt("1", name="JIRO", f7="20231115220001")) == "AA"
    async with world() as here:
        client = await here.connect()
        assert await client.code(adt("1", name="TARO")) == "AA"
        here.clock.now += 31 * 86_400_000
        assert [await client.code(adt("1", name="JIRO")) for _ in "12"] == ["AA", "AA"]
        await negative(client, adt("1", name="TARO"), "AE", "205", "MSH^1^10")
        assert len({row.id for row in await here.rows(Status.RECEIVED)}) == 2


async def test_33_sequence_numbers() -> None:
    async with world(sequence=True) as here:
        client = await here.connect()

        async def say(number: str, control: str) -> tuple[str | None, str]:
            answer = await client.ask(adt(control, f13=number))
            return answer.value("MSA-1"), answer.value("MSA-4") or ""

        async def link(number: str) -> tuple[str | None, str]:
            answer = await client.ask(header(f"link{number}", f13=number).encode() + b"\r")
            return answer.value("MSA-1"), answer.value("MSA-4") or ""

        assert await link("0") == ("AA", "-1")
        assert await say("5", "a") == ("AA", "6")
        assert await say("6", "b") == ("AA", "7")
        assert await say("6", "b") == ("AA", "7")
        assert await say("9", "c") == ("AE", "7")
        assert await say("6", "other") == ("AE", "7")
        assert await link("0") == ("AA", "7")
        assert await link("-1") == ("AA", "-1")
        assert await say("40", "d") == ("AA", "41")
        assert [row.control_id for row in await here.rows(Status.RECEIVED)] == ["a", "b", "d"]


async def test_34_a_late_event_is_accepted_with_its_own_time() -> None:
    async with world() as here:
        client = await here.connect()
        late = message("2", "ADT^A03", "EVN||20231101220000|||X|20231101\rPID|||9999013\rPV1||I\r")
        assert [await client.code(adt("1")), await client.code(late)] == ["AA", "AA"]
        first, second = await here.rows()
        assert first.event > second.event
        assert first.lane == second.lane


async def test_35_a_missing_patient_is_an_error() -> None:
    async with world() as here:
        client = await here.connect()
        raw = message("1", "ADT^A08", "EVN||20231114220000\rPV1||O\r")
        answer = await client.ask(raw)
        assert answer.value("MSA-1") == "AE"
        assert errors(answer)[0] in (("PID^1", "100", "E"), ("PID", "100", "E"))
        assert [row.status for row in await here.rows()] == [Status.REFUSED]


@pytest.mark.parametrize("line", ["ZXX|1|a", "QQQ|1|a"])
async def test_36_unknown_segments_are_kept(line: str) -> None:
    async with world() as here:
        client = await here.connect()
        answer = await client.ask(adt("1", tail=f"{line}\r"))
        assert answer.value("MSA-1") == "AA"
        inside = OBSERVATIONS.replace("OBX|", f"{line}\rOBX|")
        assert await client.code(message("2", "ORU^R01", inside)) == "AA"
        assert line.encode() in (await here.rows())[0].raw


async def test_36_a_segment_in_lower_case_is_a_warning() -> None:
    async with world() as here:
        await warned(await here.connect(), adt("1").replace(b"PID|", b"pid|"))
        assert [row.lane for row in await here.rows()] == ["HIS.H1/9999013"]


async def test_37_a_missing_patient_id_is_an_error() -> None:
    async with world() as here:
        await negative(await here.connect(), adt("1").replace(b"9999013^^^^PI", b""), "AE", "101", "PID^1^3")


STRICT = {
    "37 PV1-2": (adt("1").replace(b"PV1||O", b"PV1|1|"), "101", "PV1^1^2"),
    "37 OBX-11": (message("1", "ORU^R01", OBSERVATIONS.replace("|||||F", "")), "101", "OBX^1^11"),
    "38 date": (adt("1").replace(b"TARO\r", b"TARO||1965/02/03\r"), "102", "PID^1^7^1^1"),
    "38 NM": (message("1", "ORU^R01", OBSERVATIONS.replace("5.2", "<5.2")), "102", "OBX^1^5"),
    "38 OBX-2": (message("1", "ORU^R01", OBSERVATIONS.replace("|NM|", "|QQ|")), "103", "OBX^1^2"),
}


@pytest.mark.parametrize("name", STRICT)
async def test_37_and_38_bad_fields_are_warnings_or_errors_by_grade(name: str) -> None:
    raw, condition, place = STRICT[name]
    async with world() as here:
        answer = await (await here.connect()).ask(raw)
        assert answer.value("MSA-1") == "AA"
        assert (place, condition, "W") in errors(answer), errors(answer)
        assert [row.status for row in await here.rows()] == [Status.RECEIVED]
    async with world(grade=Grade.STRICT) as here:
        await negative(await here.connect(), raw, "AE", condition, place)
        assert [row.status for row in await here.rows()] == [Status.REFUSED]
    async with world(grade=Grade.OFF) as here:
        answer = await (await here.connect()).ask(raw)
        assert (answer.value("MSA-1"), errors(answer)) == ("AA", [])


@pytest.mark.parametrize("grade", [Grade.REPORT, Grade.STRICT])
async def test_38_a_code_that_a_user_defined_table_lacks_is_a_warning_at_any_grade(grade: Grade) -> None:
    raw = adt("1").replace(b"TARO\r", b"TARO|||X\r")
    async with world(grade=grade) as here:
        await warned(await here.connect(), raw, "103")


async def test_39_a_line_end_within_text_is_an_error_with_its_line() -> None:
    raw = adt("1", tail="NTE|1||first line\rsecond line\r")
    async with world() as here:
        answer = await (await here.connect()).ask(raw)
        assert answer.value("MSA-1") == "AE"
        assert "Line 6" in (answer.value("MSA-3") or "")
    joining = Sources([Source(name="his", match=Match(applications=("HIS",)), join=True)])
    async with world(joining) as here:
        await warned(await here.connect(), raw)


async def test_39_a_lone_backslash_is_text() -> None:
    async with world() as here:
        answer = await (await here.connect()).ask(adt("1", tail="NTE|1||C:\\temp\r"))
        assert answer.value("MSA-1") == "AA"


def batch(*messages: bytes, count: int | None = None) -> bytes:
    told = len(messages) if count is None else count
    return (
        b"FHS|^~\\&|HIS|H1|REN|R1\rBHS|^~\\&|HIS|H1|REN|R1|20231114||||B7\r"
        + b"".join(messages)
        + f"BTS|{told}\rFTS|1\r".encode()
    )


async def batch_answer(client: Client, raw: bytes) -> list[tuple[str, ...]]:
    """The answer's segments by name, with the fields that matter."""
    await client.write(frame(raw))
    event = await client.event()
    lines = event.content.decode().split("\r")
    shown = {"BHS": 12, "MSA": 1, "BTS": 1, "FTS": 1}
    found: list[tuple[str, ...]] = []
    for line in lines:
        name, fields = line[:3], line.split("|")
        if name == "MSA":
            found.append((name, fields[1], fields[2]))
        elif name in shown:
            found.append((name, fields[shown[name] - (name == "BHS")]))
    return found


async def test_40_a_batch_is_answered_by_a_batch() -> None:
    async with world() as here:
        client = await here.connect()
        raw = batch(adt("1"), adt("2", f11="T"), japanese("3"))
        assert await batch_answer(client, raw) == [
            ("BHS", "B7"), ("MSA", "AA", "1"), ("MSA", "AR", "2"), ("MSA", "AA", "3"), ("BTS", "3"), ("FTS", "1"),
        ]  # fmt: skip
        rows = await here.rows(Status.RECEIVED)
        assert [row.raw for row in rows] == [adt("1"), japanese("3")]
        assert [raw[row.origin.offset - 1 :][: len(row.raw)] for row in rows] == [row.raw for row in rows]


async def test_40_a_batch_with_a_wrong_count_is_an_error_and_its_messages_stand() -> None:
    async with world() as here:
        client = await here.connect()
        assert await batch_answer(client, batch(adt("1"), count=5)) == [
            ("BHS", "B7"), ("MSA", "AE", "B7"), ("MSA", "AA", "1"), ("BTS", "2"), ("FTS", "1"),
        ]  # fmt: skip
        assert [row.control_id for row in await here.rows(Status.RECEIVED)] == ["1"]


async def test_40_a_batch_may_be_answered_with_failures_only() -> None:
    async with world(batch="failures") as here:
        client = await here.connect()
        assert await batch_answer(client, batch(adt("1"), adt("2", f11="T"))) == [
            ("BHS", "B7"), ("MSA", "AR", "2"), ("BTS", "1"), ("FTS", "1"),
        ]  # fmt: skip


async def test_40_two_messages_in_a_frame_are_refused_or_split() -> None:
    async with world() as here:
        answer = await (await here.connect()).ask(adt("1") + adt("2"))
        assert (answer.value("MSA-1"), errors(answer)[0][1]) == ("AR", "100")
        assert not await here.rows(Status.RECEIVED)
    async with world(split=True) as here:
        assert await answers(await here.connect(), frame(adt("1") + adt("2")), 2) == ["AA", "AA"]
        assert [row.raw for row in await here.rows()] == [adt("1"), adt("2")]


async def test_40_an_acknowledgement_is_never_acknowledged() -> None:
    async with world() as here:
        client = await here.connect()
        await client.write(frame(message("9", "ACK^A08^ACK", "MSA|AA|1\r")))
        await client.write(frame(message("8", "ORR^O02", "MSA|AE|1\r")))
        assert (await client.ask(adt("1"))).value("MSA-2") == "1"
        assert [row.status for row in await here.rows()] == [Status.SET_ASIDE, Status.SET_ASIDE, Status.RECEIVED]
