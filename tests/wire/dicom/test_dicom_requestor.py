"""Our calls to others, with pynetdicom as the one who is called (PS3.7 9, 10)."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import trustme
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.dsutils import encode

from adapters.dicom.dataset.meta import split
from adapters.dicom.network.association import Association, AssociationRefused
from adapters.dicom.network.commands import Command, Field, Status
from adapters.dicom.network.connection import AssociationLost, Times
from adapters.dicom.network.peers import Peer
from adapters.dicom.network.requestor import Proposed, associate, client_context
from adapters.dicom.services import echo, store
from tests.wire.dicom.station import CT_SMALL, FILES, station
from tests.wire.live import until

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
COMMIT = "1.2.840.10008.1.20.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
QUICK = Times(artim=5, answer=5)


class Called:
    """pynetdicom as SCP, and what it was given."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []
        self.store_status = 0
        self.reports: list[int] = []
        self.aborted = 0
        self.released = 0
        self.matches = 5
        self.yielded = 0
        entity = AE("CALLED")
        entity.require_called_aet = True
        entity.maximum_pdu_size = 16384
        for context in AllStoragePresentationContexts:
            syntaxes = [EXPLICIT, "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.2"]
            entity.add_supported_context(context.abstract_syntax, syntaxes)
        for sop_class in ("1.2.840.10008.1.1", FIND):
            entity.add_supported_context(sop_class)
        entity.add_supported_context(COMMIT, scu_role=True, scp_role=True)
        handlers: list[Any] = [  # pynetdicom is untyped
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_N_EVENT_REPORT, self._report),
            (evt.EVT_ABORTED, self._abort),
            (evt.EVT_RELEASED, self._release),
        ]
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.address = f"127.0.0.1:{self.server.socket.getsockname()[1]}"

    def _store(self, event: Any) -> int:  # pynetdicom is untyped
        self.stored.append(event.request.DataSet.getvalue())
        return self.store_status

    def _find(self, event: Any) -> Iterator[tuple[int, Any]]:  # pynetdicom is untyped
        for number in range(self.matches):
            if event.is_cancelled:
                yield 0xFE00, None
                return
            self.yielded = number + 1
            match = pydicom.Dataset()
            match.PatientID = str(number)
            yield 0xFF00, match

    def _report(self, event: Any) -> tuple[int, None]:  # pynetdicom is untyped
        self.reports.append(event.event_type)
        return 0, None

    def _abort(self, _: Any) -> None:
        self.aborted += 1

    def _release(self, _: Any) -> None:
        self.released += 1


@pytest.fixture(scope="module")
def called() -> Iterator[Called]:
    made = Called()
    yield made
    made.server.shutdown()


def open_(called: Called, *contexts: Proposed, title: str = "CALLED") -> Any:
    """Return an association as a context manager."""
    return associate(called.address, "RENKEI", title, contexts or (echo.PROPOSED,), times=QUICK)


async def test_an_echo_and_an_orderly_end(called: Called) -> None:
    before = called.released
    async with open_(called) as association:
        assert [await echo.echo(association) for _ in range(3)] == [0, 0, 0]
    assert association.over
    until(lambda: called.released == before + 1, 5, "the release")


async def test_a_refusal_says_why(called: Called) -> None:
    with pytest.raises(AssociationRefused, match="called AE title not recognized"):
        async with open_(called, title="NOBODY"):
            pass


async def test_nobody_there_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match="111"):
        async with associate("127.0.0.1:1", "RENKEI", "X", (echo.PROPOSED,), times=QUICK):
            pass


async def test_who_does_not_answer_is_given_up() -> None:
    server = await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(TimeoutError):
        async with associate(f"127.0.0.1:{port}", "A", "B", (echo.PROPOSED,), times=Times(artim=0.2)):
            pass
    server.close()


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_bigendian.dcm", "examples_jpeg2k.dcm", "rtplan.dcm"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_objects_go_out_as_they_are(called: Called, name: str, streamed: bool) -> None:
    content = (FILES / name).read_bytes()
    meta, start = split(content)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(start, len(content), 30_000):
            yield content[at : at + 30_000]

    async with open_(called, Proposed(meta.sop_class, (meta.transfer_syntax,))) as association:
        data = pieces() if streamed else content[start:]
        response = await store.send(association, meta.sop_class, meta.sop_instance, meta.transfer_syntax, data)
        assert response is not None
        assert response.status == 0
    assert called.stored.pop() == content[start:]


async def test_what_the_peer_cannot_take_is_not_sent(called: Called) -> None:
    async with open_(called, Proposed(CT, ("1.2.840.10008.1.2.4.50",)), echo.PROPOSED) as association:
        assert await store.send(association, CT, "1.2.3", "1.2.840.10008.1.2.4.50", b"") is None
        assert await echo.echo(association) == 0


async def test_a_status_of_the_peer_is_told(called: Called) -> None:
    content = CT_SMALL.read_bytes()
    called.store_status = 0xA700
    try:
        async with open_(called, Proposed(CT, (EXPLICIT,))) as association:
            response = await store.send(association, CT, "1.2.3", EXPLICIT, content[split(content)[1] :])
            assert response is not None
            assert response.status == Status.OUT_OF_RESOURCES
    finally:
        called.store_status = 0


def _query() -> bytes:
    query = pydicom.Dataset()
    query.QueryRetrieveLevel, query.PatientID = "STUDY", ""
    raw = encode(query, is_implicit_vr=True, is_little_endian=True)
    assert raw is not None
    return raw


async def test_every_match_of_a_query_comes(called: Called) -> None:
    called.matches = 300
    command = Command(field=Field.C_FIND_RQ, sop_class=FIND, priority=0)
    async with open_(called, Proposed(FIND, ("1.2.840.10008.1.2",))) as association:
        found = [response async for response in association.responses(command, _query())]
    assert [response.command.pending for response in found] == [True] * 300 + [False]
    assert found[299].dataset is not None
    assert b"299 " in found[299].dataset


async def test_who_leaves_early_cancels(called: Called) -> None:
    called.matches = 100_000
    command = Command(field=Field.C_FIND_RQ, sop_class=FIND, priority=0)
    async with open_(called, Proposed(FIND, ("1.2.840.10008.1.2",)), echo.PROPOSED) as association:
        async with contextlib.aclosing(association.responses(command, _query())) as responses:
            async for _ in responses:
                break
        assert await echo.echo(association) == 0
    assert called.yielded < 100_000


async def test_an_event_is_reported(called: Called) -> None:
    report = Command(field=Field.N_EVENT_REPORT_RQ, sop_class=COMMIT, instance="1.2.840.10008.1.20.1.1", event_type=1)
    proposed = Proposed(COMMIT, ("1.2.840.10008.1.2",), scu=False, scp=True)
    async with open_(called, proposed) as association:
        (context,) = association.contexts.values()
        assert context.scp
        response = await association.request(report, _query(), context)
        assert response.status == 0
    assert called.reports == [1]


async def test_an_exception_aborts(called: Called) -> None:
    before = called.aborted
    with pytest.raises(ZeroDivisionError):
        async with open_(called):
            raise ZeroDivisionError
    until(lambda: called.aborted == before + 1, 5, "the abort")


async def test_a_peer_that_goes_away_is_told() -> None:
    with station() as made:
        async with associate(f"127.0.0.1:{made.port}", "A", "RENKEI", (echo.PROPOSED,), times=QUICK) as association:
            await asyncio.to_thread(made.run, made.listener.stop())
            with pytest.raises(AssociationLost):
                await echo.echo(association)


async def test_a_window_lets_requests_overlap() -> None:
    content = CT_SMALL.read_bytes()
    with station() as made:
        address = f"127.0.0.1:{made.port}"
        async with associate(address, "A", "RENKEI", (Proposed(CT, (EXPLICIT,)),), times=QUICK) as association:
            sent = [store.send(association, CT, f"1.2.{number}", EXPLICIT, content[1000:]) for number in range(20)]
            answers = await asyncio.gather(*sent)
        assert all(answer is not None and answer.status == 0 for answer in answers)
        assert len(made.shelf.kept) == 20


async def test_with_tls_the_peer_must_be_known(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "s.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "s.key"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))

    def opened(port: int, vouching: str) -> contextlib.AbstractAsyncContextManager[Association]:
        peer = Peer(title="RENKEI", tls=True, authorities=str(tmp_path / vouching))
        tls = client_context(peer)
        return associate(f"127.0.0.1:{port}", "A", "RENKEI", (echo.PROPOSED,), times=QUICK, tls=tls)

    with station(certificate=str(tmp_path / "s.pem"), key=str(tmp_path / "s.key")) as made:
        async with opened(made.port, "ca.pem") as association:
            assert await echo.echo(association) == 0
        with pytest.raises(ssl.SSLCertVerificationError):
            async with opened(made.port, "other.pem"):
                pass
