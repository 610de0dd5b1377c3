"""The HTTP edge: bytes in, a FhirRequest through the door, bytes out (FHIR R4 http.html)."""
