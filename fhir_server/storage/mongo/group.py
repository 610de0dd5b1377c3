"""Single creates and reads that arrive while one is under way travel together in the next command.

A command costs the client about 0.2 ms whatever it carries, and a durable insert a wait for the disk; shared, both
become small. Nobody waits who is alone.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from fhir_server.core.change import StoreUnavailable, VersionConflict
from fhir_server.storage.mongo.failures import DUPLICATE_KEY, plain
from fhir_server.storage.mongo.layout import Document, key_of

_LARGEST_GROUP = 500
_LARGEST_GROUP_BYTES = 16 * 1024 * 1024

_Waiting = tuple[Document, "asyncio.Future[None]"]


def _version_conflict(name: str) -> Exception:
    return VersionConflict((key_of(name),))


class GroupCommit:
    """Inserts single documents durably, many at a time. Each caller learns the fate of its own document.

    Documents have their bytes in ``raw``. ``duplicate`` makes the error for an ``_id`` that is taken.
    """

    def __init__(
        self,
        collection: AsyncCollection[Document],
        limit: int,
        lanes: int = 1,
        duplicate: Callable[[str], Exception] = _version_conflict,
    ) -> None:
        self._collection = collection
        self._limit = limit
        self._lanes = lanes
        self._duplicate = duplicate
        self._waiting: deque[_Waiting] = deque()
        self._active = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def insert(self, document: Document) -> None:
        """Return once the document is on disk; raise ``duplicate`` if one with its ``_id`` exists."""
        if len(self._waiting) >= self._limit:
            raise StoreUnavailable(f"{self._limit} writes are waiting already")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((document, future))
        if self._active < self._lanes:
            self._active += 1
            task = loop.create_task(self._drain())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await future

    async def _drain(self) -> None:
        try:
            await asyncio.sleep(0)  # let those that are ready in this round of the loop come along
            while self._waiting:
                await self._insert(self._take())
        except asyncio.CancelledError:
            _fail(_futures(self._waiting), StoreUnavailable("the server is stopping"))
            self._waiting.clear()
            raise
        finally:
            self._active -= 1  # in the same step that found nothing waiting: who comes next starts a new task

    async def _insert(self, group: list[_Waiting]) -> None:
        try:
            if len(group) == 1:
                await self._collection.insert_one(group[0][0])
            else:
                await self._collection.insert_many([document for document, _ in group], ordered=False)
        except DuplicateKeyError:
            _fail(_futures(group), self._duplicate(group[0][0]["_id"]))
        except BulkWriteError as error:
            self._tell(group, error)
        except PyMongoError as error:
            failure = plain(error)
            _fail(_futures(group), failure)
            if isinstance(failure, StoreUnavailable):  # no database: who waits would only wait as long again
                _fail(_futures(self._waiting), failure)
                self._waiting.clear()
        except BaseException as error:
            _fail(_futures(group), StoreUnavailable("the server is stopping"))
            if not isinstance(error, Exception):
                raise
        else:
            for _, future in group:
                if not future.done():
                    future.set_result(None)

    def _take(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        while self._waiting and len(group) < _LARGEST_GROUP and size < _LARGEST_GROUP_BYTES:
            document, future = self._waiting.popleft()
            size += len(document["raw"])
            group.append((document, future))
        return group

    def _tell(self, group: list[_Waiting], error: BulkWriteError) -> None:
        failed = {found["index"]: found for found in error.details.get("writeErrors", ())}
        unsure = bool(error.details.get("writeConcernErrors"))
        for place, (document, future) in enumerate(group):
            if future.done():
                continue
            found = failed.get(place)
            if found and found.get("code") == DUPLICATE_KEY:
                future.set_exception(self._duplicate(document["_id"]))
            elif found or unsure:
                future.set_exception(plain(error))
            else:
                future.set_result(None)


class GroupRead:
    """Finds single documents by ``_id``, many at a time."""

    def __init__(self, collection: AsyncCollection[Document], projection: Document) -> None:
        self._collection = collection
        self._projection = projection
        self._waiting: dict[str, list[asyncio.Future[Document | None]]] = {}
        self._busy = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def find(self, name: str) -> Document | None:
        """Return the document as it is at some moment after the call."""
        if not self._busy:
            self._busy = True
            try:
                return await self._collection.find_one({"_id": name}, self._projection)
            except PyMongoError as error:
                self._give_up(plain(error))
                raise
            finally:
                self._next()
        future: asyncio.Future[Document | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, []).append(future)
        return await future

    def _next(self) -> None:
        """Start the next round, or rest: in one step, so nobody is left waiting."""
        self._busy = bool(self._waiting)
        if self._busy:
            waiting, self._waiting = self._waiting, {}
            task = asyncio.get_running_loop().create_task(self._round(waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _give_up(self, failure: Exception) -> None:
        """Without a database, fail who waits as well: one after the other, each would wait as long again."""
        if isinstance(failure, StoreUnavailable):
            waiting, self._waiting = self._waiting, {}
            _fail((future for found in waiting.values() for future in found), failure)

    async def _round(self, waiting: dict[str, list["asyncio.Future[Document | None]"]]) -> None:
        names = list(waiting)
        futures = [future for found in waiting.values() for future in found]
        try:
            wanted: Document = {"_id": names[0] if len(names) == 1 else {"$in": names}}
            rows = {row["_id"]: row for row in await self._collection.find(wanted, self._projection).to_list()}
        except PyMongoError as error:
            _fail(futures, plain(error))
            self._give_up(plain(error))
        except BaseException:
            _fail(futures, StoreUnavailable("the server is stopping"))
            raise
        else:
            for name in names:
                for future in waiting[name]:
                    if not future.done():
                        future.set_result(rows.get(name))
        finally:
            self._next()


def _futures(group: Iterable[_Waiting]) -> Iterator["asyncio.Future[None]"]:
    return (future for _, future in group)


def _fail(futures: Iterable["asyncio.Future[Any]"], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
