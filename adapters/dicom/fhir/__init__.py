"""The FHIR side of images (FHIR R4 imagingstudy.html, PS3.20)."""
