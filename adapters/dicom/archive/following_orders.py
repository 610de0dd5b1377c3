"""Follows the orders: a ServiceRequest that comes after its images is what their study is based on all the same.

As :mod:`.following` does for patients, orders are asked for by when they were last updated; how far that has come is a
row.
"""

import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from adapters.context import Context
from adapters.dicom.archive.fields import FOLLOWED, STUDY
from adapters.dicom.archive.rows import read_study
from adapters.dicom.services import door
from fhir_server.core.tables import In, RowConflict, RowQuery, RowWrite

_ROW: Final = "orders"
_OVERLAP: Final = 3_000  # ms
_PAGE: Final = "200"
_MOST: Final = 1000


class _Mark(msgspec.Struct, frozen=True):
    updated: int  # ms since 1970 UTC: those updated before have been followed


class OrderFollower:
    """Has studies written anew whose orders have come."""

    def __init__(self, context: Context, ask: Callable[[str], None]) -> None:
        """``ask`` has the resources of a study (by UID) written anew."""
        self._context = context
        self._tables = context.tables
        self._ask = ask
        self._seen: frozenset[str] = frozenset()  # within the overlap

    async def follow(self) -> int:
        """Look at the orders that changed since the last time; return how many studies are written anew."""
        oldest = await self._tables.find(RowQuery(table=STUDY, order=(("arrived", False),), limit=1))
        if not oldest:
            return 0  # a server without images need not look at its orders
        rows = await self._tables.get(FOLLOWED, (_ROW,))
        before = (
            msgspec.msgpack.decode(rows[_ROW].content, type=_Mark).updated if rows else read_study(oldest[0]).arrived
        )
        since = datetime.fromtimestamp((before - _OVERLAP) / 1000, UTC).isoformat(timespec="milliseconds")
        query = (("_lastUpdated", f"ge{since}"), ("_sort", "_lastUpdated"), ("_count", _PAGE))
        last, asked = before, 0
        seen: set[str] = set()
        async for page in door.search(self._context, "ServiceRequest", *query):
            names = {f"{tree['id']}/{tree['meta']['versionId']}": tree for tree in page}
            seen |= names.keys()
            asked += await self._studies([tree for name, tree in names.items() if name not in self._seen])
            last = (
                max(last, int(datetime.fromisoformat(page[-1]["meta"]["lastUpdated"]).timestamp() * 1000))
                if page
                else last
            )
        self._seen = frozenset(seen)
        if last != before or not rows:
            revision = rows[_ROW].revision + 1 if rows else 1
            with contextlib.suppress(RowConflict):  # another process does the same
                content = msgspec.msgpack.encode(_Mark(last))
                await self._tables.write([RowWrite(table=FOLLOWED, id=_ROW, revision=revision, content=content)])
        return asked

    async def _studies(self, orders: Sequence[dict[str, Any]]) -> int:  # FHIR resources
        """Ask for the studies with an order's number that are its patient's and do not name it yet."""
        by_number = {
            str(one["value"]): order for order in orders for one in order.get("identifier", ()) if one.get("value")
        }
        if not by_number:
            return 0
        where = (In("00080050", tuple(by_number)),)
        studies = [read_study(row) for row in await self._tables.find(RowQuery(table=STUDY, where=where, limit=_MOST))]
        trees = await door.read_all(self._context, [study.imaging_study for study in studies if study.imaging_study])
        asked = 0
        for study in studies:
            number = next((value for value in by_number if _has(study.attributes, value)), "")
            order, tree = by_number.get(number), trees.get(study.imaging_study)
            if order is None or tree is None or order.get("subject", {}).get("reference") != study.patient:
                continue
            reference = f"ServiceRequest/{order['id']}"
            if all(one.get("reference") != reference for one in tree.get("basedOn", ())):
                self._ask(study.uid)
                asked += 1
        return asked


def _has(attributes: dict[str, Any], number: str) -> bool:  # DICOM JSON
    return number in (str(one).strip() for one in attributes.get("00080050", {}).get("Value") or ())
