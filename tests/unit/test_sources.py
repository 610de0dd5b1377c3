"""Sources: whose messages these are, and files that cannot be used."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sources import Grade, Match, SenderRefused, Source, SourceError, Sources

HEX = "ab" * 32
OTHER = "cd" * 32


def written(folder: Path, **files: str) -> Sources:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text, "utf-8")
    return Sources.load(folder)


def test_a_file_says_everything_of_a_source(tmp_path: Path) -> None:
    (tmp_path / "central").mkdir()
    sources = written(
        tmp_path,
        central=f"""
        facility = "1319999999"
        charset = "cp932"
        grade = "strict"
        overlays = []
        zone = "UTC"
        sync = true
        [match]
        applications = ["HIS", "LIS"]
        facilities = ["H1"]
        certificates = ["{":".join([HEX[:2].upper()] * 32)}"]
        [tables.AdministrativeSex]
        9 = "unknown"
        """,
    )
    source = sources.named("central")
    assert source == Source(
        name="central", facility="1319999999", charset="cp932", grade=Grade.STRICT, overlays=(), zone="UTC", sync=True,
        match=Match(applications=("HIS", "LIS"), facilities=("H1",), certificates=(HEX,)),
        tables={"AdministrativeSex": {"9": "unknown"}}, maps=str(tmp_path / "central"),
    )  # fmt: skip
    assert sources.of_facility("1319999999") is source


def test_no_folder_is_no_sources(tmp_path: Path) -> None:
    assert Sources.load(tmp_path / "absent").all == ()


WRONG = {
    "syntax": "x =",
    "unknown member": "colour = 'red'",
    "unknown member of match": "[match]\ncolour = 'red'",
    "wrong type": "sync = 3",
    "name": "name = 'a b'",
    "facility": "facility = '123'",
    "zone": "zone = 'Asia/Atlantis'",
    "certificate": "[match]\ncertificates = ['abc']",
    "maps": "maps = 'nowhere'",
    "grade": "grade = 'harsh'",
    "days": "duplicate_days = -1",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"one\.toml"):
        written(tmp_path, one=WRONG[name])


def test_two_sources_of_one_name_or_one_match_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="another file's"):
        written(tmp_path, a="name = 'x'", b="name = 'x'")
    (tmp_path / "b.toml").unlink()
    with pytest.raises(SourceError, match="same as"):
        written(tmp_path, a="[match]\napplications = ['A']", b="[match]\napplications = ['A']")


def named(**matches: Match) -> Sources:
    return Sources([Source(name=name, match=match) for name, match in matches.items()])


def test_the_most_special_match_counts() -> None:
    sources = named(
        any_of_port=Match(ports=("north",)),
        facility=Match(facilities=("H1",)),
        application=Match(applications=("HIS",)),
        both=Match(applications=("HIS",), facilities=("H1",)),
    )

    def found(*sender: str, port: str = "mllp") -> str:
        source = sources.match(*sender, port=port)
        return source.name if source else ""

    assert found("HIS", "H1") == "both"
    assert found("HIS^1.2.3^ISO", "H1^x") == "both"
    assert found("HIS", "H2") == "application"
    assert found("LIS", "H1") == "facility"
    assert found("LIS", "H2", port="north") == "any_of_port"
    assert found("LIS", "H2") == ""


def test_a_source_without_match_is_no_ones() -> None:
    assert Sources([Source(name="ssmix2", facility="1319999999")]).match("A", "B") is None


def test_certificates_bind_both_ways() -> None:
    sources = named(
        h1=Match(facilities=("H1",), certificates=(HEX,)), h2=Match(facilities=("H2",)), h3=Match(certificates=(OTHER,))
    )
    assert sources.match("A", "H1", certificate=HEX) == sources.named("h1")
    assert sources.match("A", "H2") == sources.named("h2")
    assert sources.match("A", "anything", certificate=OTHER) == sources.named("h3")
    assert sources.match("A", "anything", certificate="ef" * 32) is None
    for facility, certificate in (("H1", ""), ("H1", "ef" * 32), ("H2", HEX), ("H9", HEX), ("H1", OTHER)):
        with pytest.raises(SenderRefused):
            sources.match("A", facility, certificate=certificate)


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_distinct_senders_have_distinct_names_fit_for_uris(one: tuple[str, str], other: tuple[str, str]) -> None:
    sources = Sources([Source(name="HIS.H1"), Source(name="unknown")])

    def key(sender: tuple[str, str]) -> tuple[str, ...]:
        return tuple(part.split("^", 1)[0].strip() for part in sender)

    names = sources.derived_name(*one), sources.derived_name(*other)
    assert (names[0] == names[1]) == (key(one) == key(other))
    assert all(name and name.isascii() and not set(name) & set(" /|:?#[]@!$&'()*+,;=%") for name in names)
    assert not {*names} & {"HIS.H1", "unknown"}


def test_a_derived_source_is_found_again_by_its_name_with_the_same_defaults() -> None:
    sources = Sources(zone="UTC")
    derived = sources.derive("HIS", "H1")
    assert derived.name == "HIS.H1"
    assert sources.named("HIS.H1") == derived
    assert derived.timezone.key == "UTC"


def test_the_system_of_patient_ids() -> None:
    assert Source(name="a", patient_system="urn:x").patient_identifier_system("urn:y") == "urn:x"
    assert (
        Source(name="a", facility="1319999999").patient_identifier_system("urn:y")
        == "urn:oid:1.2.392.100495.20.3.51.11319999999"
    )
    assert Source(name="a").patient_identifier_system("urn:y") == "urn:y"
    assert Source(name="a").patient_identifier_system() == "urn:renkei:source:a:patient"


def test_a_sender_that_is_not_configured_is_the_same_source_every_time() -> None:
    sources = Sources()
    assert sources.named("HIS.SEND") is sources.derive("HIS", "SEND")
    assert sources.named("HIS.OTHER") is not sources.named("HIS.SEND")
