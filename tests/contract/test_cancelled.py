"""A job that is cancelled ends, wherever in a call to the store it is."""

import asyncio

from fhir_server.core.tables import RowWrite, TableLayout, Tables

LAYOUT = TableLayout("test.film", ())


async def test_a_cancelled_job_ends_wherever_it_is(tables: Tables) -> None:
    await tables.prepare([LAYOUT])
    await tables.write([RowWrite(table="test.film", id="1", revision=1, content=b"")])
    lost = 0
    for turns in range(60):
        left = False

        async def read() -> bool:
            while not left:  # noqa: B023 - of this turn
                await tables.get("test.film", ["1"])
                await asyncio.sleep(0)
            return True

        job = asyncio.create_task(read())
        for _ in range(turns):
            await asyncio.sleep(0)
        job.cancel()
        await asyncio.wait((job,), timeout=0.05)
        left = True
        lost += (await asyncio.gather(job, return_exceptions=True))[0] is True
    assert lost == 0
