"""The interactions of FHIR R4 http.html: one door, one module an interaction."""
