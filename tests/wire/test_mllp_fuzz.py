"""Whatever is sent: no crash, no acknowledgement of what is not stored, an answer to the next good message."""

import asyncio
import contextlib
import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.hl7v2.er7 import parse
from adapters.hl7v2.mllp import Frame, Frames, frame
from fhir_server.core.messages import Status
from tests.unit.ingest.samples import OBSERVATIONS, adt, japanese, message
from tests.wire.mllp_world import Client, World, world

GOOD = st.integers(0, 8).flatmap(
    lambda number: st.sampled_from(
        [
            frame(adt(str(number))),
            frame(adt(str(number), name="OTHER")),
            frame(japanese(str(number))),
            frame(message(str(number), "ORU^R01", OBSERVATIONS)),
            frame(adt(str(number), f15="AL", f16="AL")),
            frame(b"BHS|^~\\&\r" + adt(str(number)) + b"BTS|1\r"),
        ]
    )
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Frames of which bytes were lost, doubled, changed or put in between."""
    data = bytearray(b"".join(draw(st.lists(GOOD, min_size=1, max_size=5))))
    for _ in range(draw(st.integers(0, 6))):
        if not data:
            break
        start = draw(st.integers(0, len(data) - 1))
        end = min(len(data), start + draw(st.sampled_from([1, 1, 2, 10, 80])))
        match draw(st.sampled_from(["lose", "double", "change", "insert", "truncate"])):
            case "lose":
                del data[start:end]
            case "double":
                data[end:end] = data[start:end]
            case "change":
                data[start] = draw(st.integers(0, 255))
            case "insert":
                data[start:start] = draw(
                    st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\x1c\r", b"\x1b$B", b"\xff", b"|" * 9])
                )
            case _:
                del data[start:]
    return bytes(data)


async def heard(client: Client) -> list[bytes]:
    """Everything that comes back until the other side closes."""
    engine, found = Frames(), []
    with contextlib.suppress(ConnectionError):
        while data := await client.reader.read(65536):
            found += engine.feed(data)
    return [event.content for event in found if isinstance(event, Frame)]


async def check(here: World, data: bytes, cuts: list[int]) -> None:
    client = await here.connect()
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    answers = asyncio.create_task(heard(client))
    with contextlib.suppress(ConnectionError):
        for start, end in itertools.pairwise(places):
            await client.write(data[start:end])
            await asyncio.sleep(0)
        client.writer.write_eof()
    async with asyncio.timeout(20):
        contents = await answers
    await client.close()
    rows = await here.rows(Status.RECEIVED)
    stored = {row.control_id for row in rows}
    raws = [row.raw for row in rows if row.control_id != "good"]
    for content in contents:
        for part in content.split(b"MSH|")[1:]:
            answer = parse("MSH|" + part.decode("iso2022_jp_ext", "replace"))
            if (answer.value("MSA-1") or "") in ("AA", "CA"):
                assert answer.first("MSA").raw(2) in stored  # type: ignore[union-attr]
    assert all(raw in data for raw in raws), "what is stored is what was sent"
    after = await here.connect()
    good = adt("good")
    assert await after.code(good) == "AA"
    assert good in [row.raw for row in await here.rows(Status.RECEIVED)]
    await after.close()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged(), st.lists(st.integers(0, 2000), max_size=8))
def test_damaged_streams(data: bytes, cuts: list[int]) -> None:
    async def run() -> None:
        async with world(frame_timeout=5) as here:
            await check(here, data, cuts)

    asyncio.run(run())


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=300), st.lists(st.integers(0, 2000), max_size=4))
def test_any_bytes(data: bytes, cuts: list[int]) -> None:
    async def run() -> None:
        async with world(frame_timeout=5) as here:
            await check(here, frame(data), cuts)
            await check(here, data, cuts)

    asyncio.run(run())


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 2000), max_size=20), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_any_split_and_repetition_of_good_frames_stores_each_once(cuts: list[int], numbers: list[int]) -> None:
    async def run() -> None:
        async with world() as here:
            client = await here.connect()
            data = b"".join(frame(adt(str(number))) for number in numbers)
            places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
            for start, end in itertools.pairwise(places):
                await client.write(data[start:end])
            assert [(await client.answer()).value("MSA-2") for _ in numbers] == [str(number) for number in numbers]
            assert [row.control_id for row in await here.rows()] == [str(n) for n in dict.fromkeys(numbers)]
            await client.close()

    asyncio.run(run())
