"""The writers of a store in memory: the reference of :class:`~fhir_server.core.ports.Writers`."""

from collections.abc import Mapping

from fhir_server.core.ports import Writer


class MemoryWriters:
    """Writers within one process."""

    def __init__(self) -> None:
        self._writers: dict[str, Writer] = {}

    async def announce(self, name: str, mark: str | None) -> None:
        """Say by which definitions ``name`` writes now; None: by earlier ones, or by none yet."""
        before = self._writers.get(name)
        self._writers[name] = Writer(mark, before.beat + 1 if before else 1)

    async def withdraw(self, name: str, beat: int | None = None) -> None:
        """Forget ``name``, or only if it has said nothing since ``beat``."""
        if beat is None or (name in self._writers and self._writers[name].beat == beat):
            self._writers.pop(name, None)

    async def announced(self) -> Mapping[str, Writer]:
        """Return every writer."""
        return dict(self._writers)
