"""How far packs are indexed is noted, whatever became of the note before."""

from types import SimpleNamespace
from typing import Any, cast

from adapters.dicom.archive.ledger import PackState, pack_row, read_pack
from adapters.dicom.archive.recovery import PackNotes
from adapters.dicom.archive.rows import PACK
from fhir_server.storage.tables_memory import MemoryTables

NAME = "202601/a"


async def test_a_note_after_one_that_was_cancelled_but_done_is_written() -> None:
    tables = MemoryTables()
    notes = PackNotes(cast(Any, SimpleNamespace(tables=tables)))
    await notes.note([PackState(name=NAME, size=10, indexed=0)])
    await tables.write([pack_row(PackState(name=NAME, size=20, indexed=0, revision=2))])  # nobody knows of it
    await notes.note([PackState(name=NAME, size=20, indexed=20, closed=True)])
    assert read_pack((await tables.get(PACK, (NAME,)))[NAME]).is_done
