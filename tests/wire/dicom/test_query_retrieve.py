"""C-FIND, C-GET and C-MOVE with DCMTK and pynetdicom as opponents (PS3.4 C)."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Self

import msgspec
import pydicom
import pytest
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt

from adapters.dicom.archive.find import ImageIndex, ImageQuery
from adapters.dicom.archive.rows import STUDY, read_study, study_row
from adapters.dicom.model import Fate, Level
from adapters.dicom.services.assembly import ServiceLimits
from tests.flow.client import Client
from tests.wire.dicom.services_world import SENDER, Node, Peer, free_port, running

STUDY_FIND, STUDY_MOVE, STUDY_GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
PATIENT_FIND, PATIENT_STUDY_FIND = "1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.3.1"
CT = "CT_small.dcm"
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
CT_STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
CT_INSTANCE = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
ALL_STUDIES = ImageQuery(level=Level.STUDY, limit=1000)
MOST = 1_000_000  # bytes of a sample


def sample(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    assert found is not None
    return Path(str(found))


def charset(name: str) -> Path:
    return next(Path(str(file)) for file in get_charset_files() if Path(str(file)).name == name)


def copies(folder: Path, number: int) -> list[Path]:
    """Return files of one series."""
    dataset = pydicom.dcmread(sample(CT))
    found = []
    for place in range(1, number + 1):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{place}"
        dataset.InstanceNumber = place
        found.append(folder / f"{place}.dcm")
        dataset.save_as(found[-1])
    return found


@pytest.fixture
async def node(client: Client, tmp_path: Path) -> AsyncIterator[Node]:
    async with running(client, tmp_path / "images") as made:
        yield made


def identifier(level: str, **keys: Any) -> Dataset:
    """Return an identifier; its values need not be valid."""
    dataset = Dataset()
    for name, value in {"QueryRetrieveLevel": level, **keys}.items():
        vr = dictionary_VR(name)
        dataset.add(DataElement(tag_for_keyword(name), vr, value, validation_mode=pydicom.config.IGNORE))
    return dataset


async def find(node: Node, wanted: Dataset, model: str = STUDY_FIND) -> tuple[list[Dataset], Dataset]:
    """Return the answers (with their status as ``answered``) and the last status."""

    def ask() -> tuple[list[Dataset], Dataset]:
        ae = AE(ae_title="WS1")
        ae.add_requested_context(model)
        association = ae.associate("127.0.0.1", node.port, ae_title="RENKEI")
        assert association.is_established
        found, last = [], Dataset()
        for status, dataset in association.send_c_find(wanted, model):
            last = status
            if dataset is not None and status.Status in (0xFF00, 0xFF01):
                dataset.answered = status.Status
                found.append(dataset)
        association.release()
        return found, last

    return await asyncio.to_thread(ask)


# --- C-FIND ---


async def test_findscu_finds_a_study(node: Node) -> None:
    await node.keep(sample(CT))
    output = await node.run(
        "findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName=CompressedSamples*",
        "-k", "StudyInstanceUID", "-k", "NumberOfStudyRelatedInstances", "-k", "ModalitiesInStudy",
        "-k", "StudyDate=20040101-20041231", "-k", "InstanceAvailability", "-v",
    )  # fmt: skip
    assert "CompressedSamples^CT1" in output
    assert CT_STUDY in output
    assert "[ONLINE" in output
    assert "Success" in output


@pytest.mark.parametrize(
    ("model", "level", "keys", "number"),
    [
        (PATIENT_FIND, "PATIENT", {"PatientID": "1CT1"}, 1),
        (PATIENT_FIND, "STUDY", {"PatientID": "1CT1", "StudyInstanceUID": ""}, 1),
        (PATIENT_STUDY_FIND, "STUDY", {"PatientID": "1CT1", "StudyInstanceUID": ""}, 1),
        (STUDY_FIND, "STUDY", {"PatientID": ""}, 2),
        (
            STUDY_FIND,
            "SERIES",
            {"StudyInstanceUID": CT_STUDY, "Modality": "CT"},
            1,
        ),
        (STUDY_FIND, "IMAGE", {"SOPInstanceUID": "", "PatientID": "4MR1"}, 1),
        (STUDY_FIND, "STUDY", {"StudyDate": "19990101"}, 0),
        (STUDY_FIND, "STUDY", {"ModalitiesInStudy": "MR"}, 1),
    ],
    ids=["patient", "patient-study", "patient-study-only", "all", "series", "image", "none", "modality"],
)
async def test_every_model_and_level_is_answered(
    node: Node, model: str, level: str, keys: dict[str, str], number: int
) -> None:
    await node.keep(sample(CT), sample("MR_small.dcm"))
    found, last = await find(node, identifier(level, **keys), model)
    assert last.Status == 0
    assert len(found) == number
    assert {one.QueryRetrieveLevel for one in found} <= {level}
    assert {one.RetrieveAETitle for one in found} <= {"RENKEI"}


async def test_counts_and_modalities_of_a_study(node: Node) -> None:
    await node.keep(sample(CT))
    wanted = identifier(
        "STUDY", StudyInstanceUID="", NumberOfStudyRelatedSeries="", NumberOfStudyRelatedInstances="",
        ModalitiesInStudy="", StationName="",
    )  # fmt: skip
    (found,), _ = await find(node, wanted)
    assert (found.NumberOfStudyRelatedSeries, found.NumberOfStudyRelatedInstances) == (1, 1)
    assert found.ModalitiesInStudy == "CT"
    assert found.StationName == ""


async def test_a_key_that_is_not_supported_is_a_warning(node: Node) -> None:
    await node.keep(sample(CT))
    (found,), last = await find(node, identifier("STUDY", StudyInstanceUID="", ContrastBolusAgent="X"))
    assert (found.answered, last.Status) == (0xFF01, 0)


@pytest.mark.parametrize(
    ("model", "wanted", "offending"),
    [
        (STUDY_FIND, identifier("PATIENT", PatientID="1"), 0x00080052),
        (PATIENT_STUDY_FIND, identifier("SERIES", PatientID="1"), 0x00080052),
        (STUDY_FIND, identifier("ROOM", PatientID="1"), 0x00080052),
        (STUDY_FIND, identifier("STUDY", StudyInstanceUID="1.2.x"), 0x0020000D),
        (STUDY_FIND, identifier("STUDY", StudyTime="25 o'clock"), 0x00080030),
    ],
    ids=["level-of-root", "level-of-model", "no-level", "uid", "time"],
)
async def test_a_bad_identifier_is_refused_with_the_element(
    node: Node, model: str, wanted: Dataset, offending: int
) -> None:
    found, last = await find(node, wanted, model)
    assert (found, last.Status) == ([], 0xA900)
    assert last.OffendingElement == offending
    assert last.ErrorComment


async def test_more_matches_than_the_limit_are_not_cut_off_in_silence(client: Client, tmp_path: Path) -> None:
    async with running(client, tmp_path, limits=ServiceLimits(answers=1)) as node:
        await node.keep(sample(CT), sample("MR_small.dcm"))
        found, last = await find(node, identifier("STUDY", StudyInstanceUID=""))
    assert (len(found), last.Status) == (1, 0xA700)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("", "ISO_IR 192"), ("ISO_IR 192", "ISO_IR 192"), ("ISO_IR 100", "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], ["", "ISO 2022 IR 87"]),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], ["ISO 2022 IR 13", "ISO 2022 IR 87"]),
        ("ISO_IR 13", ["ISO 2022 IR 13", "ISO 2022 IR 87"]),
    ],
    ids=["none", "utf8", "latin", "kanji", "kana-kanji", "kana"],
)  # fmt: skip
async def test_japanese_names_come_in_what_the_caller_reads(
    node: Node, asked: str | list[str], answered: str | list[str]
) -> None:
    await node.keep(charset("chrH31.dcm"))
    wanted = identifier("STUDY", SpecificCharacterSet=asked, PatientName="", StudyInstanceUID="")
    (found,), _ = await find(node, wanted)
    assert found.SpecificCharacterSet == answered
    assert str(found.PatientName) == "Yamada^Tarou=山田^太郎=やまだ^たろう"


@pytest.mark.parametrize("name", ["山田*", "ヤマダ*", "yamada^t*", "*太郎"], ids=["kanji", "kana", "latin", "given"])
async def test_names_are_found_in_any_script(node: Node, name: str) -> None:
    await node.keep(charset("chrH31.dcm"), sample(CT))
    wanted = identifier("STUDY", SpecificCharacterSet="ISO_IR 192", PatientName=name, StudyInstanceUID="")
    found, _ = await find(node, wanted)
    assert len(found) == 1


async def test_a_cancelled_query_ends_as_cancelled(node: Node, tmp_path: Path) -> None:
    await node.keep(*copies(tmp_path, 8))

    def ask() -> list[int]:
        ae = AE(ae_title="WS1")
        ae.add_requested_context(STUDY_FIND)
        association = ae.associate("127.0.0.1", node.port, ae_title="RENKEI")
        wanted = identifier("IMAGE", SOPInstanceUID="")
        statuses = []
        for status, _ in association.send_c_find(wanted, STUDY_FIND, msg_id=7):
            if not statuses:
                association.send_c_cancel(7, query_model=STUDY_FIND)
            statuses.append(status.Status)
        association.release()
        return statuses

    statuses = await asyncio.to_thread(ask)
    assert statuses[-1] in (0xFE00, 0x0000)  # it may have ended before the cancel came
    assert set(statuses[:-1]) == {0xFF00}


# --- C-GET and C-MOVE ---


class Receiver:
    """A storage SCP of pynetdicom: what it got, by SOP Instance UID."""

    def __init__(self, contexts: Iterable[tuple[str, list[str]]], port: int, status: int = 0) -> None:
        self.got: dict[str, str] = {}
        self.requests: list[Any] = []
        self._status = status
        self._port = port
        self._ae = AE(ae_title="STORE")
        for sop_class, syntaxes in contexts:
            self._ae.add_supported_context(sop_class, syntaxes)

    def __enter__(self) -> Self:
        handlers = [(evt.EVT_C_STORE, self._store)]
        self._server = self._ae.start_server(("127.0.0.1", self._port), block=False, evt_handlers=handlers)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    def _store(self, event: Any) -> int:  # pynetdicom's event
        self.got[str(event.request.AffectedSOPInstanceUID)] = digest(event.request.DataSet.getvalue())
        self.requests.append(event.request)
        return self._status


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def bytes_of(raw: bytes) -> tuple[str, str, str, str]:
    """Return SOP class, instance, transfer syntax, and the digest of the data set as it is in a file."""
    stream = io.BytesIO(raw)
    meta = pydicom.filereader.read_partial(stream, lambda *_: True).file_meta
    deflated = meta.TransferSyntaxUID == "1.2.840.10008.1.2.1.99"  # then pydicom has read it all
    start = 144 + meta.FileMetaInformationGroupLength if deflated else stream.tell()
    return (
        str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID), str(meta.TransferSyntaxUID),
        digest(raw[start:]),
    )  # fmt: skip


def read_samples() -> list[bytes]:
    """Return the files of pydicom's wheel, each with a SOP Instance UID of its own."""
    folder = Path(pydicom.__file__).parent / "data"
    seen: set[str] = set()
    found = []
    for file in sorted((*folder.glob("test_files/**/*"), *folder.glob("charset_files/*.dcm"))):
        raw = file.read_bytes() if file.is_file() and file.stat().st_size <= MOST else b""
        if raw[128:132] != b"DICM":
            continue
        uid = str(pydicom.filereader.read_file_meta_info(file).get("MediaStorageSOPInstanceUID", ""))
        if uid in seen:
            raw = raw.replace(uid.encode(), uid[:-4].encode() + f"{len(found) + 1000}".encode())
        seen.add(uid)
        found.append(raw)
    return found


async def kept_samples(node: Node) -> dict[str, tuple[str, str, str]]:
    """Keep every sample that the archive takes; return class, transfer syntax and digest by instance."""
    found: dict[str, tuple[str, str, str]] = {}
    for raw in await asyncio.to_thread(read_samples):
        kept = await node.archive.keep(raw, SENDER, wait=True)
        if kept.fate is Fate.STORED:
            sop_class, instance, syntax, content = bytes_of(raw)
            found[instance] = sop_class, syntax, content
    return found


def get(
    node: Node, wanted: Dataset, contexts: Iterable[tuple[str, list[str]]]
) -> tuple[dict[str, str], Dataset, Dataset]:
    """Retrieve by C-GET; return digests by instance, the last status and its identifier."""
    got: dict[str, str] = {}

    def store(event: Any) -> int:  # pynetdicom's event
        got[str(event.request.AffectedSOPInstanceUID)] = digest(event.request.DataSet.getvalue())
        return 0

    ae = AE(ae_title="WS1")
    ae.add_requested_context(STUDY_GET)
    roles = {}
    for sop_class, syntaxes in contexts:
        ae.add_requested_context(sop_class, syntaxes)
        roles[sop_class] = build_role(sop_class, scp_role=True)
    association = ae.associate(
        "127.0.0.1", node.port, ae_title="RENKEI", ext_neg=list(roles.values()), evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    assert association.is_established
    last, failed = Dataset(), Dataset()
    for status, dataset in association.send_c_get(wanted, STUDY_GET):
        last, failed = status, dataset or Dataset()
    association.release()
    return got, last, failed


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


def move(node: Node, wanted: Dataset, destination: str = "STORE", priority: int = 2) -> tuple[Dataset, Dataset]:
    """Retrieve by C-MOVE; return the last status and its identifier."""
    ae = AE(ae_title="WS1")
    ae.add_requested_context(STUDY_MOVE)
    association = ae.associate("127.0.0.1", node.port, ae_title="RENKEI")
    assert association.is_established
    last, failed = Dataset(), Dataset()
    for status, dataset in association.send_c_move(wanted, destination, STUDY_MOVE, msg_id=9, priority=priority):
        last, failed = status, dataset or Dataset()
    association.release()
    return last, failed


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


def got_raw(node: Node, wanted: Dataset, sop_class: str, syntax: str) -> list[bytes]:
    """Retrieve by C-GET in one transfer syntax; return the data sets."""
    received: list[bytes] = []

    def store(event: Any) -> int:  # pynetdicom's event
        received.append(event.request.DataSet.getvalue())
        return 0

    ae = AE(ae_title="WS1")
    ae.add_requested_context(STUDY_GET)
    ae.add_requested_context(sop_class, syntax)
    association = ae.associate(
        "127.0.0.1", node.port, ae_title="RENKEI", ext_neg=[build_role(sop_class, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, store)],
    )  # fmt: skip
    *_, (last, _) = association.send_c_get(wanted, STUDY_GET)
    association.release()
    assert last.Status == 0
    return received


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
