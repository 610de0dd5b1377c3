"""Images and messages of one hospital meet at one patient."""

from adapters.dicom.model import Sender, Way
from adapters.sources import Source, Sources
from fhir_server.wiring.imaging import patient_systems

CENTRAL = Source(
    name="central", facility="1319999999", dicom_titles=("CT1",), dicom_issuers=("CENTRAL",)
)  # fmt: skip
OTHER = Source(name="other", patient_system="urn:oid:1.2.3", dicom_titles=("MR1",))
OURS = CENTRAL.patient_identifier_system()


def system(sources: Sources, title: str = "", issuer: str = "") -> str:
    attributes = {"00100021": {"vr": "LO", "Value": [issuer]}} if issuer else {}
    return patient_systems(sources).system(attributes, Sender(Way.DIMSE, title))


def test_a_modality_speaks_for_its_source() -> None:
    both = Sources((CENTRAL, OTHER))
    assert system(both, "CT1") == OURS
    assert system(both, "MR1") == "urn:oid:1.2.3"


def test_the_issuer_in_the_object_counts_more_than_the_modality() -> None:
    assert system(Sources((CENTRAL, OTHER)), "MR1", "CENTRAL") == OURS


def test_with_one_source_every_unnamed_patient_is_its_own() -> None:
    assert system(Sources((CENTRAL,)), "UNKNOWN") == OURS


def test_with_several_sources_nobody_is_guessed() -> None:
    assert system(Sources((CENTRAL, OTHER)), "UNKNOWN") not in (OURS, "urn:oid:1.2.3")
