"""Ports and peers as the settings give them."""

from pathlib import Path

import pytest

from adapters.dicom.network.peers import Peer, Peers, Right
from fhir_server.settings import ALLOW_PUBLIC, Settings, SettingsError, read
from fhir_server.wiring import imaging


def settings(folder: Path, content: str, **environment: str) -> Settings:
    """Return the settings with a file of this content."""
    (folder / "renkei.toml").write_text(content)
    return read({"RENKEI_DATA": str(folder), **environment})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("dicom_title = 'much too long for a title'", "dicom_title"),
        ("dicom_title = 'A\\\\B'", "dicom_title"),
        ("[[dicom_peer]]\ntitle = 'A'\nrights = ['everything']", "dicom_peer"),
        ("[[dicom_peer]]\ntitle = 'A'\nhosts = ['here']", "dicom_peer"),
        ("[[dicom_peer]]\ntitle = ''", "dicom_peer"),
        ("[[dicom_peer]]\ntitle = 'A'\naddress = 'here'", "dicom_peer"),
        ("[[dicom_port]]\naddress = '127.0.0.1:0'\nsize = 1", "dicom_port"),
        ("[[dicom_port]]\naddress = '127.0.0.1:0'\ncertificate = 'c'\nkey = 'k'", "certificate"),
    ],
    ids=["title", "backslash", "rights", "hosts", "no-title", "address", "option", "files"],
)
def test_what_cannot_be_is_explained(tmp_path: Path, content: str, says: str) -> None:
    given = settings(tmp_path, content)
    with pytest.raises(SettingsError, match=says):
        imaging.check_files(imaging.ports(given)) or imaging.peers(given)


def test_who_hears_only_this_machine_hears_anyone_on_it(tmp_path: Path) -> None:
    table = "[[dicom_port]]\naddress = '10.0.0.1:104'\ntitle = 'OUTSIDE'"
    given = settings(tmp_path, table, RENKEI_ALLOW_UNPROTECTED_PUBLIC_ACCESS=ALLOW_PUBLIC, RENKEI_DICOM_TITLE="OURS")
    inside, outside = imaging.ports(given)
    assert (inside.title, inside.unknown_peers) == ("OURS", "accept")
    assert (outside.title, outside.unknown_peers) == ("OUTSIDE", "accept")
    secured = "[[dicom_port]]\naddress = '10.0.0.1:104'\ncertificate = 'c'\nkey = 'k'\nclient_authorities = 'a'"
    _, outside = imaging.ports(settings(tmp_path, secured))
    assert outside.unknown_peers == "refuse"
    assert outside.certificate == str(tmp_path / "c")


def test_a_peer_is_known_by_title_address_and_certificate() -> None:
    ct = Peer(title="CT1", hosts=("10.1.0.0/16", "2001:db8::/32"), rights=(Right.STORE,))
    pacs = Peer(title="PACS", address="pacs.example:104", certificate="AB:CD")
    known = Peers((ct, pacs))
    assert known.caller("CT1", "10.1.2.3") is ct
    assert known.caller("CT1", "::ffff:10.1.2.3") is ct
    assert known.caller("CT1", "2001:db8::1") is ct
    assert known.caller("CT1", "10.2.0.1") is None
    assert known.caller("CT1", "10.2.0.1", unknown=True) is None  # a known title is not anyone's
    assert known.caller("PACS", "10.9.9.9", "abcd") is pacs
    assert known.caller("PACS", "10.9.9.9", "") is None
    assert known.caller("NEW", "10.9.9.9") is None
    stranger = known.caller("NEW", "10.9.9.9", unknown=True)
    assert stranger is not None
    assert stranger.may(Right.RETRIEVE)
    assert not ct.may(Right.QUERY)
    assert ct.may(None)
    assert known.destination(" PACS ") is pacs
    assert known.destination("CT1") is None
