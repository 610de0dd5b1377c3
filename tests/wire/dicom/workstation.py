"""A workstation made of pynetdicom: it queries, retrieves and receives; and the samples it looks for."""

import asyncio
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import pydicom
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt

from adapters.dicom.archive.find import ImageQuery
from adapters.dicom.model import Fate, Level
from tests.wire.dicom.services_world import SENDER, Node

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
    return Path(pydicom.__file__).parent / "data" / "charset_files" / name


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
