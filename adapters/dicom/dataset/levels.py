"""Which attributes the index keeps of each level: those that queries may match and return.

PS3.4 C.6 (Query/Retrieve keys), PS3.18 tables 10.6.1-5 and 10.6.3-3 to 10.6.3-5 (QIDO-RS), IHE RAD-14, and what an
ImagingStudy is made of. Tags as in the DICOM JSON model.
"""

from typing import Final

from adapters.dicom.dataset.dictionary import vr_of

PATIENT = frozenset({
    "00100010",  # Patient's Name
    "00100020",  # Patient ID
    "00100021",  # Issuer of Patient ID
    "00100022",  # Type of Patient ID
    "00100024",  # Issuer of Patient ID Qualifiers Sequence
    "00100026",  # Source Patient Group Identification Sequence
    "00100030",  # Patient's Birth Date
    "00100032",  # Patient's Birth Time
    "00100033",  # Patient's Birth Date in Alternative Calendar
    "00100035",  # Patient's Alternative Calendar
    "00100040",  # Patient's Sex
    "00101000",  # Other Patient IDs (retired)
    "00101001",  # Other Patient Names
    "00101002",  # Other Patient IDs Sequence
    "00102160",  # Ethnic Group
    "00102201",  # Patient Species Description
    "00102297",  # Responsible Person
    "00104000",  # Patient Comments
    "00120062",  # Patient Identity Removed
})  # fmt: skip

STUDY = frozenset({
    "00080020",  # Study Date
    "00080030",  # Study Time
    "00080050",  # Accession Number
    "00080051",  # Issuer of Accession Number Sequence
    "00080090",  # Referring Physician's Name
    "00080096",  # Referring Physician Identification Sequence
    "00080201",  # Timezone Offset From UTC
    "00081030",  # Study Description
    "00081032",  # Procedure Code Sequence
    "00081048",  # Physician(s) of Record
    "00081060",  # Name of Physician(s) Reading Study
    "00081062",  # Physician(s) Reading Study Identification Sequence
    "00081080",  # Admitting Diagnoses Description
    "00081110",  # Referenced Study Sequence
    "00101010",  # Patient's Age
    "00101020",  # Patient's Size
    "00101030",  # Patient's Weight
    "00102180",  # Occupation
    "001021B0",  # Additional Patient History
    "00120010",  # Clinical Trial Sponsor Name
    "00120020",  # Clinical Trial Protocol ID
    "00120040",  # Clinical Trial Subject ID
    "0020000D",  # Study Instance UID
    "00200010",  # Study ID
    "00321032",  # Requesting Physician
    "00321033",  # Requesting Service
    "00321060",  # Requested Procedure Description
    "00321064",  # Requested Procedure Code Sequence
    "00380010",  # Admission ID
    "00401002",  # Reason for the Requested Procedure
    "0040100A",  # Reason for Requested Procedure Code Sequence
    "0040A370",  # Referenced Request Sequence
})  # fmt: skip

SERIES = frozenset({
    "00080021",  # Series Date
    "00080031",  # Series Time
    "00080060",  # Modality
    "00080064",  # Conversion Type
    "00080070",  # Manufacturer
    "00080080",  # Institution Name
    "00080081",  # Institution Address
    "00081010",  # Station Name
    "0008103E",  # Series Description
    "0008103F",  # Series Description Code Sequence
    "00081040",  # Institutional Department Name
    "00081050",  # Performing Physician's Name
    "00081052",  # Performing Physician Identification Sequence
    "00081070",  # Operators' Name
    "00081072",  # Operator Identification Sequence
    "00081090",  # Manufacturer's Model Name
    "00081111",  # Referenced Performed Procedure Step Sequence
    "00082218",  # Anatomic Region Sequence
    "00180015",  # Body Part Examined
    "00180060",  # KVP
    "00181000",  # Device Serial Number
    "00181030",  # Protocol Name
    "00185100",  # Patient Position
    "0020000E",  # Series Instance UID
    "00200011",  # Series Number
    "00200052",  # Frame of Reference UID
    "00200060",  # Laterality
    "00200062",  # Image Laterality
    "00400241",  # Performed Station AE Title
    "00400242",  # Performed Station Name
    "00400243",  # Performed Location
    "00400244",  # Performed Procedure Step Start Date
    "00400245",  # Performed Procedure Step Start Time
    "00400253",  # Performed Procedure Step ID
    "00400254",  # Performed Procedure Step Description
    "00400260",  # Performed Protocol Code Sequence
    "00400275",  # Request Attributes Sequence
    "00400280",  # Comments on the Performed Procedure Step
    "00400560",  # Specimen Description Sequence
})  # fmt: skip

INSTANCE = frozenset({
    "00080005",  # Specific Character Set
    "00080008",  # Image Type
    "00080012",  # Instance Creation Date
    "00080013",  # Instance Creation Time
    "00080016",  # SOP Class UID
    "00080018",  # SOP Instance UID
    "00080022",  # Acquisition Date
    "00080023",  # Content Date
    "0008002A",  # Acquisition DateTime
    "00080032",  # Acquisition Time
    "00080033",  # Content Time
    "00082111",  # Derivation Description
    "00180050",  # Slice Thickness
    "00200012",  # Acquisition Number
    "00200013",  # Instance Number
    "00200032",  # Image Position (Patient)
    "00200037",  # Image Orientation (Patient)
    "00201041",  # Slice Location
    "00204000",  # Image Comments
    "00280002",  # Samples per Pixel
    "00280004",  # Photometric Interpretation
    "00280008",  # Number of Frames
    "00280010",  # Rows
    "00280011",  # Columns
    "00280030",  # Pixel Spacing
    "00280100",  # Bits Allocated
    "00280101",  # Bits Stored
    "00280103",  # Pixel Representation
    "00280301",  # Burned In Annotation
    "00281050",  # Window Center
    "00281051",  # Window Width
    "00282110",  # Lossy Image Compression
    "00400555",  # Acquisition Context Sequence
    "0040A043",  # Concept Name Code Sequence
    "0040A491",  # Completion Flag
    "0040A492",  # Completion Flag Description
    "0040A493",  # Verification Flag
    "0040A496",  # Preliminary Flag
    "00420010",  # Document Title
    "00420012",  # MIME Type of Encapsulated Document
    "00700080",  # Content Label
    "00700081",  # Content Description
})  # fmt: skip

#: the level (0 patient to 3 instance) of each tag as a number, with the tag as in DICOM JSON and its VR
LEVEL_OF: Final = {
    int(tag, 16): (level, tag, vr_of(int(tag, 16)))
    for level, tags in enumerate((PATIENT, STUDY, SERIES, INSTANCE))
    for tag in tags
}
