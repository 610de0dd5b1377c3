"""pynetdicom and DCMTK as callers of our listener: echo, every readable sample as it is, TLS."""

import hashlib
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import trustme
from pynetdicom import AE, _config, build_role

from adapters.dicom.dataset.meta import split
from adapters.dicom.network.peers import Peer
from tests.tools import require
from tests.wire.dicom.station import CT_SMALL, FILES, TITLE, Station, station

NAGLE_ON = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}


@pytest.fixture(scope="module")
def heard() -> Iterator[Station]:
    with station() as made:
        yield made


def run(*command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a program of DCMTK with its defaults."""
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=NAGLE_ON, check=False)


def samples() -> list[Path]:
    """Return every sample with a File Meta Information that names class, instance and transfer syntax."""
    folders = [FILES, FILES.parent / "charset_files"]
    found = []
    for path in sorted(path for folder in folders for path in folder.rglob("*.dcm")):
        content = path.read_bytes()
        if content[128:132] != b"DICM":
            continue
        meta, _ = split(content)
        if meta.sop_class and meta.sop_instance and meta.transfer_syntax and "1.3.10" not in meta.sop_class:
            found.append(path)
    return found


def caller(*contexts: tuple[str, str]) -> Any:  # pynetdicom is untyped
    """Return pynetdicom as SCU."""
    entity = AE("PYNET")
    for sop_class, syntax in contexts:
        entity.add_requested_context(sop_class, syntax)
    return entity


def test_pynetdicom_echoes(heard: Station) -> None:
    association = caller(("1.2.840.10008.1.1", "1.2.840.10008.1.2")).associate("127.0.0.1", heard.port, ae_title=TITLE)
    assert association.is_established
    assert association.send_c_echo().Status == 0
    association.release()
    assert association.is_released


def test_every_sample_is_kept_as_it_is(heard: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)  # the file's own bytes
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", True)
    all_samples = samples()
    assert len(all_samples) > 80
    for path in all_samples:
        content = path.read_bytes()
        meta, start = split(content)
        entity = caller((meta.sop_class, meta.transfer_syntax))
        association = entity.associate("127.0.0.1", heard.port, ae_title=TITLE)
        assert association.accepted_contexts, path.name
        status = association.send_c_store(path)
        association.release()
        assert status.Status == 0, path.name
        kept = heard.shelf.kept.pop()
        assert kept.dataset == content[start:], path.name
        written, _ = split(kept.file)
        assert (written.sop_class, written.sop_instance) == (meta.sop_class, meta.sop_instance)
        assert written.transfer_syntax == meta.transfer_syntax


def test_what_is_kept_is_a_dicom_file(heard: Station, tmp_path: Path) -> None:
    association = caller(("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")).associate(
        "127.0.0.1", heard.port, ae_title=TITLE
    )
    association.send_c_store(pydicom.dcmread(CT_SMALL))
    association.release()
    path = tmp_path / "kept.dcm"
    path.write_bytes(heard.shelf.kept.pop().file)
    found = pydicom.dcmread(path)
    assert found.file_meta.SourceApplicationEntityTitle == "PYNET"
    assert found.PatientName == pydicom.dcmread(CT_SMALL).PatientName


def test_pynetdicom_is_given_the_roles_it_asks_for(heard: Station) -> None:
    entity = caller(("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"))
    role = build_role("1.2.840.10008.5.1.4.1.1.2", scp_role=True)
    association = entity.associate("127.0.0.1", heard.port, ae_title=TITLE, ext_neg=[role])
    (context,) = association.accepted_contexts
    assert (context.as_scu, context.as_scp) == (False, True)
    association.release()


def test_a_wrong_title_is_rejected(heard: Station) -> None:
    association = caller(("1.2.840.10008.1.1", "1.2.840.10008.1.2")).associate("127.0.0.1", heard.port, ae_title="X")
    assert association.is_rejected


def test_dcmtk_echoes(heard: Station) -> None:
    done = run(require("echoscu"), "-aec", TITLE, "127.0.0.1", str(heard.port), "--repeat", "3")
    assert done.returncode == 0, done.stderr
    assert run(require("echoscu"), "-aec", "X", "127.0.0.1", str(heard.port)).returncode != 0
    assert run(require("echoscu"), "--abort", "-aec", TITLE, "127.0.0.1", str(heard.port)).returncode == 0


@pytest.mark.parametrize("limits", [[], ["-pdu", "4096", "--max-send-pdu", "4096"]], ids=["default", "small-pdus"])
def test_dcmtk_stores(heard: Station, limits: list[str]) -> None:
    files = [str(CT_SMALL), str(FILES / "MR_small.dcm"), str(FILES / "RG1_UNCR.dcm")]
    files = [file for file in files if Path(file).exists()]
    before = len(heard.shelf.kept)
    done = run(require("storescu"), *limits, "-aec", TITLE, "127.0.0.1", str(heard.port), *files)
    assert done.returncode == 0, done.stderr
    kept = heard.shelf.kept[before:]
    content = CT_SMALL.read_bytes()
    assert content[split(content)[1] :].startswith(kept[0].dataset)  # DCMTK leaves the trailing padding out
    assert len(kept[0].dataset) > 38_000
    assert len(kept) == len(files)


def test_dcmtk_sends_with_nagle_on_without_waiting(heard: Station, tmp_path: Path) -> None:
    """With delayed acknowledgements each object takes 40 ms, and these 100 more than 4 s."""
    files = [str(shutil.copyfile(CT_SMALL, tmp_path / f"{number}.dcm")) for number in range(100)]
    began = time.monotonic()
    done = run(require("dcmsend"), "-nh", "-v", "-aec", TITLE, "127.0.0.1", str(heard.port), *files)
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert took < 3.5


def test_an_abort_in_the_middle_keeps_nothing(heard: Station) -> None:
    before = len(heard.shelf.kept)
    run(require("storescu"), "--abort", "-aec", TITLE, "127.0.0.1", str(heard.port), str(CT_SMALL))
    assert len(heard.shelf.kept) == before + 1  # DCMTK aborts after the last object


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An authority, a server's and a caller's certificate, and another authority's caller."""
    folder = tmp_path_factory.mktemp("papers")
    authority, other = trustme.CA(), trustme.CA()
    paths = {"authority": str(folder / "ca.pem")}
    authority.cert_pem.write_to_path(paths["authority"])
    for name, issuer in (("server", authority), ("caller", authority), ("stranger", other)):
        issued = issuer.issue_cert("127.0.0.1", "localhost")
        paths[name], paths[f"{name}_key"] = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(paths[name])
        issued.private_key_pem.write_to_path(paths[f"{name}_key"])
    return paths


def secured(papers: dict[str, str], who: str) -> ssl.SSLContext:
    """Return a caller's settings."""
    context = ssl.create_default_context(cafile=papers["authority"])
    if who:
        context.load_cert_chain(papers[who], papers[f"{who}_key"])
    return context


def test_only_callers_with_a_certificate_are_heard(papers: dict[str, str]) -> None:
    options = {"certificate": papers["server"], "key": papers["server_key"], "client_authorities": papers["authority"]}
    shown = ssl.PEM_cert_to_DER_cert(Path(papers["caller"]).read_text())
    peer = Peer(title="PYNET", certificate=hashlib.sha256(shown).hexdigest())
    with station(peer, unknown="refuse", **options) as made:
        for who, established in (("caller", True), ("stranger", False), ("", False)):
            entity = caller(("1.2.840.10008.1.1", "1.2.840.10008.1.2"))
            entity.acse_timeout = 3
            association = entity.associate(
                "127.0.0.1", made.port, ae_title=TITLE, tls_args=(secured(papers, who), "localhost")
            )
            assert association.is_established is established, who
            if established:
                assert association.send_c_echo().Status == 0
                association.release()
        assert run(require("echoscu"), "-to", "3", "-aec", TITLE, "127.0.0.1", str(made.port)).returncode != 0


def test_dcmtk_stores_with_tls(papers: dict[str, str]) -> None:
    options = {"certificate": papers["server"], "key": papers["server_key"], "client_authorities": papers["authority"]}
    with station(**options) as made:
        done = run(
            require("storescu"), "+tls", papers["caller_key"], papers["caller"], "+cf", papers["authority"],
            "-aec", TITLE, "127.0.0.1", str(made.port), str(CT_SMALL),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert len(made.shelf.kept[0].sender.certificate) == 64
