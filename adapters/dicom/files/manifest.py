"""The manifest of a study: a Key Object Selection that lists every instance and where it is had (IHE RAD XDS-I.b 4.68).

Titled "Manifest" (113030, DCM); the evidence sequence carries Retrieve URL and Retrieve AE Title of every series, and
what MADO adds for readers who choose before they fetch: modality, number of instances.
"""

import hashlib
import io
import uuid
from collections.abc import Sequence
from datetime import datetime

import msgspec
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian

from adapters.dicom.dataset.meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from adapters.dicom.fhir.codes import items, text
from adapters.dicom.model import Attributes, Instance, Series, Study

KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
_FROM_STUDY = (
    "00100010", "00100020", "00100021", "00100030", "00100040", "00080020", "00080030", "00080050", "00080090",
    "00081030", "0020000D", "00200010",
)  # fmt: skip
_NO_IMAGES = ("1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.104.", "1.2.840.10008.5.1.4.1.1.11.")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the study is had: ``dicomweb`` is the root of DICOMweb, ``location`` the repository's UID."""

    title: str
    dicomweb: str
    location: str = ""
    institution: str = ""


def manifest(
    study: Study, series: Sequence[tuple[Series, Sequence[Instance]]], source: Source, made: datetime
) -> bytes:
    """Return the manifest as a DICOM file. Its UID follows from what it lists: the same study, the same manifest."""
    listed = [(one, instances) for one, instances in series if instances]
    if not listed:
        raise ValueError("a manifest lists at least one instance")
    dataset = Dataset.from_json({tag: study.attributes[tag] for tag in _FROM_STUDY if tag in study.attributes})
    _fill(dataset, study, listed, made)
    dataset.CurrentRequestedProcedureEvidenceSequence = Items([_evidence(study, listed, source)])
    dataset.ContentSequence = Items([_shown(one) for _, instances in listed for one in instances])
    if source.institution:
        dataset.InstitutionName = source.institution
    return _written(dataset)


def _fill(dataset: Dataset, study: Study, listed: Sequence[tuple[Series, Sequence[Instance]]], made: datetime) -> None:
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
        "ReferringPhysicianName", "StudyID",
    ):  # fmt: skip
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    contents = "\n".join(one.uid for _, instances in listed for one in instances)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = KEY_OBJECTS
    dataset.StudyInstanceUID = study.uid
    dataset.SeriesInstanceUID = _uid(f"manifest series {study.uid}")
    dataset.SOPInstanceUID = _uid(f"manifest {study.uid} {contents}")
    dataset.Modality = "KO"
    dataset.Manufacturer = "Renkei"
    dataset.SeriesNumber, dataset.InstanceNumber = "0", "1"
    dataset.ContentDate, dataset.ContentTime = f"{made:%Y%m%d}", f"{made:%H%M%S}"
    dataset.TimezoneOffsetFromUTC = f"{made:%z}"
    dataset.ReferencedPerformedProcedureStepSequence = Items()
    dataset.ReferencedRequestSequence = Items([_request(dataset)]) if dataset.AccessionNumber else Items()
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = Items([_code("113030", "Manifest")])
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2010"
    dataset.ContentTemplateSequence = Items([template])


def _request(dataset: Dataset) -> Dataset:
    request = Dataset()
    request.StudyInstanceUID = dataset.StudyInstanceUID
    request.ReferencedStudySequence = Items()
    request.AccessionNumber = dataset.AccessionNumber
    request.PlacerOrderNumberImagingServiceRequest = ""
    request.FillerOrderNumberImagingServiceRequest = ""
    request.RequestedProcedureID = ""
    request.RequestedProcedureDescription = dataset.get("StudyDescription") or ""
    request.RequestedProcedureCodeSequence = Items()
    return request


def _evidence(study: Study, listed: Sequence[tuple[Series, Sequence[Instance]]], source: Source) -> Dataset:
    evidence = Dataset()
    evidence.StudyInstanceUID = study.uid
    found = []
    for series, instances in listed:
        item = Dataset()
        item.SeriesInstanceUID = series.uid
        item.Modality = series.modality or "OT"
        item.NumberOfSeriesRelatedInstances = len(instances)
        item.RetrieveAETitle = source.title
        item.RetrieveURL = f"{source.dicomweb}/studies/{study.uid}/series/{series.uid}"
        if source.location:
            item.RetrieveLocationUID = source.location
        item.ReferencedSOPSequence = Items([_reference(one) for one in instances])
        found.append(item)
    evidence.ReferencedSeriesSequence = Items(found)
    return evidence


def _reference(instance: Instance) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = instance.sop_class, instance.uid
    return item


def _shown(instance: Instance) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "COMPOSITE" if instance.sop_class.startswith(_NO_IMAGES) else "IMAGE"
    item.ReferencedSOPSequence = Items([_reference(instance)])
    return item


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _uid(name: str) -> str:
    """Return a UID that follows from the name (PS3.5 B.2)."""
    return f"2.25.{uuid.UUID(bytes=hashlib.sha256(name.encode()).digest()[:16], version=5).int}"


def _written(dataset: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = pydicom.uid.UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    dataset.file_meta = meta
    target = io.BytesIO()
    dataset.save_as(target, enforce_file_format=True)
    return target.getvalue()


def listed(attributes: Attributes) -> list[tuple[str, str, str]]:
    """Return what a manifest or other key object selection lists: study, series and instance UIDs."""
    found: list[tuple[str, str, str]] = []
    for evidence in items(attributes, "0040A375"):
        study = text(evidence, "0020000D")
        for series in items(evidence, "00081115"):
            uid = text(series, "0020000E")
            found += [(study, uid, text(one, "00081155")) for one in items(series, "00081199")]
    return found
