"""Storage Commitment Push Model with pynetdicom as the modality (PS3.4 J)."""

import asyncio
import queue
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID
from pynetdicom import AE, build_role, evt

from adapters.dicom.archive.rows import INSTANCE, read_instance
from adapters.dicom.model import Instance
from adapters.dicom.services.commitment import Transaction
from adapters.dicom.services.rows import COMMITMENT
from fhir_server.core.tables import RowQuery
from tests.flow.client import Client
from tests.wire.dicom.services_world import Node, Peer, free_port, running

COMMIT = UID("1.2.840.10008.1.20.1")
WELL_KNOWN = UID("1.2.840.10008.1.20.1.1")
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
SAMPLE = Path(str(pydicom.data.get_testdata_file("CT_small.dcm", download=False)))
CT_INSTANCE = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"


class Modality:
    """Asks for commitment, and hears reports on a port of its own."""

    def __init__(self, answers: int = 0x0000) -> None:
        self.port = free_port()
        self.reports: queue.Queue[tuple[int, Dataset]] = queue.Queue()
        self._answers = answers
        ae = AE(ae_title="CT1")
        ae.add_supported_context(COMMIT, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, self._hear)]
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)

    def stop(self) -> None:
        self._server.shutdown()

    @property
    def peer(self) -> Peer:
        return Peer(title="CT1", address=f"127.0.0.1:{self.port}")

    def _hear(self, event: Any) -> tuple[int, None]:  # pynetdicom's event
        self.reports.put((event.event_type, event.event_information))
        return self._answers, None

    async def report(self) -> tuple[int, Dataset]:
        """Return the next report: the event type and what it says."""
        return await asyncio.to_thread(self.reports.get, timeout=10)


@pytest.fixture
def modality() -> Iterator[Modality]:
    made = Modality()
    yield made
    made.stop()


def ask(node: Node, *instances: tuple[str, str], uid: str = "1.2.3.4", wait: Any = None, action: int = 1) -> Dataset:
    """Ask for commitment; return the status. ``wait`` is called before the association ends."""
    information = Dataset()
    information.TransactionUID = uid
    items = []
    for sop_class, instance in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        items.append(item)
    information.ReferencedSOPSequence = Items(items)
    reports: list[tuple[int, Dataset]] = []

    def hear(event: Any) -> tuple[int, None]:  # pynetdicom's event
        reports.append((event.event_type, event.event_information))
        if wait is not None:
            wait.put(reports[-1])
        return 0, None

    ae = AE(ae_title="CT1")
    ae.add_requested_context(COMMIT)
    association = ae.associate(
        "127.0.0.1", node.port, ae_title="RENKEI", ext_neg=[build_role(COMMIT, scu_role=True, scp_role=False)],
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, hear)],
    )  # fmt: skip
    assert association.is_established
    status, _ = association.send_n_action(information, action, COMMIT, WELL_KNOWN)
    if wait is not None:
        wait.put(wait.get(timeout=10))
    association.release()
    assert isinstance(status, Dataset)
    return status


def damage(folder: Path, instance: Instance) -> None:
    """Change a byte of an object."""
    (pack,) = folder.rglob(f"{instance.place.pack.rpartition('/')[2]}*")
    raw = bytearray(pack.read_bytes())
    raw[instance.place.offset + 1000] ^= 0xFF
    pack.write_bytes(raw)


async def transactions(node: Node) -> Sequence[Transaction]:
    rows = await node.context.tables.find(RowQuery(table=COMMITMENT))
    return [msgspec.msgpack.decode(row.content, type=Transaction) for row in rows]


async def test_what_is_kept_is_committed_on_a_new_association(
    client: Client, tmp_path: Path, modality: Modality
) -> None:
    async with running(client, tmp_path, known=[modality.peer]) as node:
        await node.keep(SAMPLE)
        node.services.start()
        status = await asyncio.to_thread(ask, node, (CT_CLASS, CT_INSTANCE))
        event, report = await modality.report()
        assert (status.Status, event) == (0, 1)
        assert report.TransactionUID == "1.2.3.4"
        assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [CT_INSTANCE]
        assert "FailedSOPSequence" not in report
        assert report.RetrieveAETitle == "RENKEI"


async def test_what_is_not_kept_is_failed_with_the_reason(client: Client, tmp_path: Path, modality: Modality) -> None:
    async with running(client, tmp_path, known=[modality.peer]) as node:
        await node.keep(SAMPLE)
        await asyncio.to_thread(
            ask, node, (CT_CLASS, CT_INSTANCE), (CT_CLASS, "1.2.3"), ("1.2.840.10008.5.1.4.1.1.4", CT_INSTANCE)
        )
        node.services.start()
        event, report = await modality.report()
    assert event == 2
    failed = {(str(item.ReferencedSOPClassUID), item.FailureReason) for item in report.FailedSOPSequence}
    assert failed == {(CT_CLASS, 0x0112), ("1.2.840.10008.5.1.4.1.1.4", 0x0119)}
    assert len(report.ReferencedSOPSequence) == 1


async def test_damaged_bytes_are_not_committed(client: Client, tmp_path: Path, modality: Modality) -> None:
    async with running(client, tmp_path, known=[modality.peer]) as node:
        await node.keep(SAMPLE)
        (row,) = await node.context.tables.find(RowQuery(table=INSTANCE))
        await asyncio.to_thread(damage, tmp_path, read_instance(row))
        await asyncio.to_thread(ask, node, (CT_CLASS, row.id))
        node.services.start()
        event, report = await modality.report()
    assert (event, report.FailedSOPSequence[0].FailureReason) == (2, 0x0110)


@pytest.mark.parametrize(
    "known", [(), (Peer(title="CT1", address="127.0.0.1:9", reports="same"),)], ids=["no-address", "setting"]
)
async def test_the_report_comes_on_the_same_association_where_it_has_to(
    client: Client, tmp_path: Path, known: Sequence[Peer]
) -> None:
    async with running(client, tmp_path, known=known) as node:
        await node.keep(SAMPLE)
        node.services.start()
        heard: queue.Queue[tuple[int, Dataset]] = queue.Queue()
        await asyncio.to_thread(ask, node, (CT_CLASS, CT_INSTANCE), wait=heard)
        event, report = heard.get_nowait()
    assert (event, report.TransactionUID) == (1, "1.2.3.4")


async def test_what_is_open_is_reported_by_the_next_process(client: Client, tmp_path: Path, modality: Modality) -> None:
    async with running(client, tmp_path, known=[modality.peer]) as first:
        await first.keep(SAMPLE)
        await asyncio.to_thread(ask, first, (CT_CLASS, CT_INSTANCE))
    assert [one.state for one in await transactions(first)] == ["open"]
    async with running(client, tmp_path, known=[modality.peer]) as second:
        second.services.start()
        event, _ = await modality.report()
    assert event == 1


async def test_a_report_that_is_not_taken_is_tried_again(client: Client, tmp_path: Path) -> None:
    refusing = Modality(answers=0x0110)
    try:
        async with running(client, tmp_path, known=[refusing.peer]) as node:
            await node.keep(SAMPLE)
            await asyncio.to_thread(ask, node, (CT_CLASS, CT_INSTANCE))
            for _ in range(2):
                await node.services.commitment.work()
            first, second = await refusing.report(), await refusing.report()
            (found,) = await transactions(node)
        assert first == second
        assert (found.state, found.attempts) == ("checked", 2)
    finally:
        refusing.stop()


async def test_a_peer_that_cannot_be_reached_is_given_up_after_its_time(client: Client, tmp_path: Path) -> None:
    away = Peer(title="CT1", address=f"127.0.0.1:{free_port()}")
    async with running(client, tmp_path, known=[away]) as node:
        await asyncio.to_thread(ask, node, (CT_CLASS, CT_INSTANCE))
        for _ in range(3):
            await node.services.commitment.work()
        assert [one.state for one in await transactions(node)] == ["checked"]
        client.context.clock.ms += 4 * 24 * 3_600_000  # type: ignore[attr-defined]  # the clock of tests
        await node.services.commitment.work()
        assert [one.state for one in await transactions(node)] == ["given up"]


async def test_a_transaction_uid_is_used_once(client: Client, tmp_path: Path) -> None:
    async with running(client, tmp_path) as node:
        first = await asyncio.to_thread(ask, node, (CT_CLASS, CT_INSTANCE))
        second = await asyncio.to_thread(ask, node, (CT_CLASS, CT_INSTANCE))
    assert (first.Status, second.Status) == (0, 0x0131)


@pytest.mark.parametrize(
    ("instances", "action", "status"),
    [((), 1, 0x0115), (((CT_CLASS, CT_INSTANCE),), 9, 0x0123)],
    ids=["nothing", "action"],
)
async def test_what_cannot_be_promised_is_refused(
    client: Client, tmp_path: Path, instances: Sequence[tuple[str, str]], action: int, status: int
) -> None:
    async with running(client, tmp_path) as node:
        found = await asyncio.to_thread(lambda: ask(node, *instances, action=action))
    assert found.Status == status
