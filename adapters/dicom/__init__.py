"""Images: DICOM over its own network protocol, over the web and from files, and their FHIR side."""
