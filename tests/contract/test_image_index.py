"""The image index gives the same answers over the reference tables and over MongoDB."""

import itertools

from adapters.dicom.archive.fields import LAYOUTS
from adapters.dicom.archive.find import ImageIndex, ImageQuery, Match
from adapters.dicom.model import Level
from fhir_server.storage.mongo.store import MongoStore
from fhir_server.storage.tables_memory import MemoryTables
from tests.unit.dicom.test_archive_find import fill

KEYS = (
    ("00100020", "P1"), ("00100020", "P?"), ("00080050", '""'), ("00080050", "A-*"), ("00100010", "yamada^tarou"),
    ("00100010", "Yamada^*"), ("00100010", "*花子"), ("00100010", "ヤマダ^タロウ"), ("00100010", "taro やま"),
    ("00080061", "CT"), ("00080061", "S?"), ("00080020", "20230301-20240110"), ("00080020", "-2024.01.10"),
    ("00080030", "1000-1100"), ("00104000", "Walks*"), ("0020000D", "1.3\\1.1"), ("0020000E", "2.4\\2.1"),
    ("00400275/00400009", "SPS1"), ("00080060", "MR"), ("00200013", "9"), ("00080018", "3.4\\3.1"),
)  # fmt: skip


async def answers(index: ImageIndex) -> dict[tuple[object, ...], list[str]]:
    found = {}
    for level, key, fuzzy in itertools.product(Level, (None, *KEYS), (False, True)):
        matches = (Match(key[0], (key[1],)),) if key else ()
        for rejected, limit, offset in ((False, 100, 0), (True, 2, 1)):
            query = ImageQuery(
                level=level, matches=matches, fuzzy=fuzzy, show_rejected=rejected, limit=limit, offset=offset
            )
            uids = [(one.instance or one.series or one.study).uid async for one in index.find(query)]
            found[level, key, fuzzy, rejected] = uids
    return found


async def test_mongodb_answers_as_the_reference_does(mongo: MongoStore) -> None:
    memory = MemoryTables()
    await fill(memory)
    await mongo.tables.prepare(LAYOUTS)
    await fill(mongo.tables)
    expected = await answers(ImageIndex(memory))
    assert sum(map(len, expected.values())) > 300
    assert await answers(ImageIndex(mongo.tables)) == expected
