"""Who writes to this database and by which definitions: one small document a writer in the collection ``meta``.

``_id`` writer/name · ``mark`` of the definitions · ``beat`` counts what the writer has said.
"""

from collections.abc import Mapping

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.core.ports import Writer
from fhir_server.storage.mongo.failures import translated
from fhir_server.storage.mongo.layout import META, Document

_PREFIX = "writer/"


class MongoWriters:
    """A :class:`~fhir_server.core.ports.Writers` in MongoDB."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._meta = database[META]

    async def announce(self, name: str, mark: str | None) -> None:
        """Say by which definitions ``name`` writes now; None: by earlier ones, or by none yet."""
        with translated():
            await self._meta.update_one(
                {"_id": _PREFIX + name}, {"$set": {"mark": mark}, "$inc": {"beat": 1}}, upsert=True
            )

    async def withdraw(self, name: str, beat: int | None = None) -> None:
        """Forget ``name``, or only if it has said nothing since ``beat``."""
        with translated():
            await self._meta.delete_one(
                {"_id": _PREFIX + name} if beat is None else {"_id": _PREFIX + name, "beat": beat}
            )

    async def announced(self) -> Mapping[str, Writer]:
        """Return every writer."""
        with translated():
            rows = await self._meta.find({"_id": {"$gte": _PREFIX, "$lt": "writer0"}}).to_list()
        return {row["_id"].removeprefix(_PREFIX): Writer(row["mark"], int(row["beat"])) for row in rows}
