"""Chains and ``_has`` resolved: inner resources are found first, under ``access``, and become terms or keys.

Nothing is cut off silently: a hop with more inner resources than the limit is refused.
"""

from collections.abc import Mapping, Sequence

from fhir_server.core.change import TooCostly
from fhir_server.core.query import EVERYTHING, Node, ReferredBy, Refers
from fhir_server.storage.mongo.compile import Hop, Names, Terms, hops
from fhir_server.storage.mongo.layout import RESOURCE, Document, TermHasher, field_name
from fhir_server.storage.mongo.plan import Plan, make_plan
from fhir_server.storage.mongo.snapshot import Snapshot


class Planner:
    """Plans questions at one moment; remembers the hops already walked."""

    def __init__(self, snapshot: Snapshot, hasher: TermHasher, limit: int) -> None:
        self._snapshot = snapshot
        self._hasher = hasher
        self._limit = limit
        self._walked: dict[tuple[Hop, Node], Terms | Names] = {}

    async def plan(self, types: Sequence[str], where: Node, access: Node) -> Plan:
        """Return how to find the undeleted resources of ``types`` (not empty) that match and are visible."""
        where_hops = await self.resolve(where, access)
        access_hops = await self.resolve(access, EVERYTHING)
        return make_plan(types, where, where_hops, access, access_hops, self._hasher)

    async def resolve(self, node: Node, access: Node) -> Mapping[Hop, Terms | Names]:
        """Return what the hops of a node lead to."""
        resolved: dict[Hop, Terms | Names] = {}
        for hop in hops(node):
            if (hop, access) not in self._walked:
                self._walked[hop, access] = await self._walk(hop, access)
            resolved[hop] = self._walked[hop, access]
        return resolved

    async def _walk(self, hop: Hop, access: Node) -> Terms | Names:
        return await (self._forward(hop, access) if isinstance(hop, Refers) else self._backward(hop, access))

    async def _forward(self, hop: Refers, access: Node) -> Terms:
        plan = await self.plan(hop.targets, hop.where, access)
        if plan.empty or not hop.targets:
            return Terms(())
        found = await self._snapshot.find(RESOURCE, plan.filter, {"_id": 1}, limit=self._limit + 1, hint=plan.hint)
        self._check(f"chain {hop.source_type}.{hop.parameter}", len(found))
        prefix = f"{hop.source_type}.{hop.parameter}="
        return Terms(tuple(self._hasher.forget(prefix + document["_id"]) for document in found))

    async def _backward(self, hop: ReferredBy, access: Node) -> Names:
        plan = await self.plan((hop.source_type,), hop.where, access)
        if plan.empty:
            return Names(())
        values = f"f.{field_name(hop.parameter)}"
        pipeline: list[Document] = [
            {"$match": {"$and": [plan.filter, {values: {"$exists": True}}]}},
            {"$limit": self._limit + 1},
            {"$group": {"_id": f"${values}", "n": {"$sum": 1}}},
        ]
        found = await self._snapshot.aggregate(RESOURCE, pipeline, hint=plan.hint)
        self._check(f"_has {hop.source_type}.{hop.parameter}", sum(group["n"] for group in found))
        return Names(tuple({name: None for group in found for name in group["_id"] if "/" in name}))

    def _check(self, what: str, found: int) -> None:
        if found > self._limit:
            raise TooCostly(what, found, self._limit)
