"""C-GET and C-MOVE with DCMTK and pynetdicom as workstations (PS3.4 C.4.2, C.4.3)."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import msgspec
import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt

from adapters.dicom.archive.find import ImageIndex
from adapters.dicom.archive.rows import STUDY, read_study, study_row
from tests.flow.client import Client
from tests.wire.dicom.services_world import Node, Peer, free_port, running
from tests.wire.dicom.workstation import (
    ALL_STUDIES,
    CT,
    CT_CLASS,
    CT_INSTANCE,
    CT_STUDY,
    EXPLICIT,
    IMPLICIT,
    MR_CLASS,
    STUDY_GET,
    Receiver,
    bytes_of,
    copies,
    get,
    got_raw,
    identifier,
    kept_samples,
    move,
    sample,
)


@pytest.fixture
async def node(client: Client, tmp_path: Path) -> AsyncIterator[Node]:
    async with running(client, tmp_path / "images") as made:
        yield made


async def test_every_sample_comes_back_byte_for_byte_by_c_get_and_c_move(client: Client, tmp_path: Path) -> None:
    port = free_port()
    peer = Peer(title="STORE", address=f"127.0.0.1:{port}")
    async with running(client, tmp_path / "images", known=[peer]) as node:
        samples = await kept_samples(node)
        assert len(samples) > 120
        studies = [one.study.uid async for one in ImageIndex(node.context.tables).find(ALL_STUDIES)]
        wanted = identifier("STUDY", StudyInstanceUID=studies)
        contexts = sorted({(sop_class, syntax) for sop_class, syntax, _ in samples.values()})
        pairs = [(sop_class, [syntax]) for sop_class, syntax in contexts]
        expected = {instance: content for instance, (_, _, content) in samples.items()}
        got, last, _ = await asyncio.to_thread(get, node, wanted, pairs)
        assert got == expected
        assert (last.Status, last.NumberOfCompletedSuboperations) == (0, len(expected))
        with Receiver(_by_class(contexts), port) as receiver:
            moved, _ = await asyncio.to_thread(move, node, wanted)
        assert receiver.got == expected
        assert (moved.Status, moved.NumberOfCompletedSuboperations) == (0, len(expected))
        assert {one.MoveOriginatorApplicationEntityTitle for one in receiver.requests} == {"WS1"}
        assert {one.MoveOriginatorMessageID for one in receiver.requests} == {9}


def _by_class(contexts: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for sop_class, syntax in contexts:
        found.setdefault(sop_class, []).append(syntax)
    return list(found.items())


async def test_getscu_gets_a_study(node: Node, tmp_path: Path) -> None:
    await node.keep(sample(CT))
    folder = tmp_path / "got"
    folder.mkdir()
    await node.run(
        "getscu", "-S", "+B", "-od", str(folder), "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={CT_STUDY}"
    )
    (got,) = folder.iterdir()
    assert bytes_of(got.read_bytes()) == bytes_of(sample(CT).read_bytes())


async def test_movescu_moves_to_itself(client: Client, tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "got"
    folder.mkdir()
    peer = Peer(title="CT1", address=f"127.0.0.1:{port}")
    async with running(client, tmp_path / "images", known=[peer]) as node:
        await node.keep(sample(CT), sample("MR_small.dcm"))
        await node.run(
            "movescu", "-S", "+B", "-aem", "CT1", "+P", str(port),
            "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={CT_STUDY}", folder=folder,
        )  # fmt: skip
    (got,) = folder.iterdir()
    assert bytes_of(got.read_bytes()) == bytes_of(sample(CT).read_bytes())


async def test_an_unknown_move_destination_is_a801(node: Node) -> None:
    await node.keep(sample(CT))
    last, _ = await asyncio.to_thread(move, node, identifier("STUDY", StudyInstanceUID=CT_STUDY), "NOWHERE")
    assert last.Status == 0xA801


async def test_a_move_to_the_server_itself_changes_nothing(node: Node) -> None:
    await node.keep(sample(CT))
    last, _ = await asyncio.to_thread(move, node, identifier("STUDY", StudyInstanceUID=CT_STUDY), "RENKEI")
    assert (last.Status, last.NumberOfCompletedSuboperations) == (0, 1)


async def test_a_retrieval_without_its_unique_key_is_refused(node: Node) -> None:
    last, _ = await asyncio.to_thread(move, node, identifier("SERIES", StudyInstanceUID=CT_STUDY), "RENKEI")
    assert (last.Status, last.OffendingElement) == (0xA900, 0x0020000E)


async def test_nothing_found_is_success_with_nothing_done(node: Node) -> None:
    last, _ = await asyncio.to_thread(move, node, identifier("STUDY", StudyInstanceUID="1.2.3"), "RENKEI")
    assert (last.Status, last.NumberOfCompletedSuboperations) == (0, 0)


async def test_a_destination_that_is_away_fails_every_sub_operation(client: Client, tmp_path: Path) -> None:
    peer = Peer(title="STORE", address=f"127.0.0.1:{free_port()}")
    async with running(client, tmp_path / "images", known=[peer]) as node:
        await node.keep(sample(CT))
        last, failed = await asyncio.to_thread(move, node, identifier("STUDY", StudyInstanceUID=CT_STUDY))
    assert (last.Status, last.NumberOfFailedSuboperations) == (0xA702, 1)
    assert failed.FailedSOPInstanceUIDList == CT_INSTANCE


@pytest.mark.parametrize(
    ("answered", "status", "counts"),
    [(0x0000, 0x0000, (2, 0, 0)), (0xB000, 0xB000, (0, 0, 2)), (0xA700, 0xA702, (0, 2, 0))],
    ids=["success", "warning", "failure"],
)
async def test_sub_operations_are_counted_by_what_the_destination_answers(
    client: Client, tmp_path: Path, answered: int, status: int, counts: tuple[int, int, int]
) -> None:
    port = free_port()
    peer = Peer(title="STORE", address=f"127.0.0.1:{port}")
    async with running(client, tmp_path / "images", known=[peer]) as node:
        await node.keep(*copies(tmp_path, 2))
        with Receiver([(CT_CLASS, [EXPLICIT])], port, answered) as receiver:
            last, _ = await asyncio.to_thread(move, node, identifier("STUDY", StudyInstanceUID=CT_STUDY))
    found = last.NumberOfCompletedSuboperations, last.NumberOfFailedSuboperations, last.NumberOfWarningSuboperations
    assert (last.Status, found) == (status, counts)
    assert {request.Priority for request in receiver.requests} == {2}


async def test_one_image_of_a_series_is_retrieved(node: Node, tmp_path: Path) -> None:
    await node.keep(*copies(tmp_path, 3))
    wanted = identifier("IMAGE", StudyInstanceUID=CT_STUDY, SOPInstanceUID="1.2.3.2")
    got, last, _ = await asyncio.to_thread(get, node, wanted, [(CT_CLASS, [EXPLICIT])])
    assert (list(got), last.Status) == (["1.2.3.2"], 0)


async def test_what_is_not_taken_as_stored_goes_out_in_another_native_syntax(node: Node) -> None:
    await node.keep(sample(CT))
    wanted = identifier("STUDY", StudyInstanceUID=CT_STUDY)
    got, last, _ = await asyncio.to_thread(get, node, wanted, [(CT_CLASS, [IMPLICIT])])
    assert (list(got), last.Status) == ([CT_INSTANCE], 0)


async def test_compressed_images_that_cannot_be_decoded_are_failed(node: Node) -> None:
    compressed = sample("JPEG2000.dcm")
    await node.keep(compressed)
    sop_class, instance, _, _ = bytes_of(compressed.read_bytes())
    wanted = identifier("IMAGE", SOPInstanceUID=instance)
    got, last, failed = await asyncio.to_thread(get, node, wanted, [(sop_class, [EXPLICIT])])
    assert (got, last.Status, failed.FailedSOPInstanceUIDList) == ({}, 0xA702, instance)


async def test_compressed_images_are_decoded_for_those_who_take_no_others(client: Client, tmp_path: Path) -> None:
    async with running(client, tmp_path / "images", transcode=True) as node:
        await node.keep(sample("MR_small_RLE.dcm"))
        wanted = identifier("IMAGE", SOPInstanceUID=bytes_of(sample("MR_small_RLE.dcm").read_bytes())[1])
        (raw,) = await asyncio.to_thread(got_raw, node, wanted, MR_CLASS, IMPLICIT)
    got = pydicom.dcmread(io.BytesIO(raw), force=True)
    assert got.PixelData == pydicom.dcmread(sample("MR_small.dcm")).PixelData


async def test_a_cancelled_retrieval_tells_what_is_left(node: Node, tmp_path: Path) -> None:
    await node.keep(*copies(tmp_path, 20))

    def run() -> Dataset:
        ae = AE(ae_title="WS1")
        ae.add_requested_context(STUDY_GET)
        ae.add_requested_context(CT_CLASS, EXPLICIT)
        association = ae.associate("127.0.0.1", node.port, ae_title="RENKEI", ext_neg=[
            build_role(CT_CLASS, scp_role=True)], evt_handlers=[(evt.EVT_C_STORE, lambda _: 0)])  # fmt: skip
        last = Dataset()
        for status, _ in association.send_c_get(identifier("STUDY", StudyInstanceUID=CT_STUDY), STUDY_GET, msg_id=5):
            if status.Status == 0xFF00:
                association.send_c_cancel(5, query_model=STUDY_GET)
            last = status
        association.release()
        return last

    last = await asyncio.to_thread(run)
    assert last.Status == 0xFE00
    assert last.NumberOfRemainingSuboperations + last.NumberOfCompletedSuboperations == 20


async def test_corrected_patients_go_out_corrected_and_the_rest_as_it_is(client: Client, tmp_path: Path) -> None:
    async with running(client, tmp_path / "images") as node:
        await node.keep(sample(CT))
        tables = node.context.tables
        study = read_study((await tables.get(STUDY, (CT_STUDY,)))[CT_STUDY])
        corrected = {"00100020": {"vr": "LO", "Value": ["NEW-1"]}}
        original = {"00100020": study.attributes["00100020"]}
        study = msgspec.structs.replace(
            study, attributes={**study.attributes, **corrected}, original=original, revision=study.revision + 1
        )
        await tables.write((study_row(study),))
        wanted = identifier("STUDY", StudyInstanceUID=CT_STUDY)
        (raw,) = await asyncio.to_thread(got_raw, node, wanted, CT_CLASS, EXPLICIT)
    got = pydicom.dcmread(io.BytesIO(raw), force=True)
    sent = pydicom.dcmread(sample(CT))
    assert got.PatientID == "NEW-1"
    assert got.PixelData == sent.PixelData
    assert got.PatientName == sent.PatientName


async def test_a_large_object_is_streamed_and_comes_back_byte_for_byte(node: Node, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(sample(CT))
    dataset.NumberOfFrames = 520
    dataset.PixelData = dataset.PixelData * 520
    dataset.save_as(tmp_path / "large.dcm")
    raw = await asyncio.to_thread((tmp_path / "large.dcm").read_bytes)
    assert len(raw) > 16 * 1024 * 1024
    await node.keep(tmp_path / "large.dcm")
    wanted = identifier("STUDY", StudyInstanceUID=CT_STUDY)
    got, last, _ = await asyncio.to_thread(get, node, wanted, [(CT_CLASS, [EXPLICIT])])
    assert (got, last.Status) == ({CT_INSTANCE: bytes_of(raw)[3]}, 0)
