"""Protocols other than FHIR: bytes in, requests at the door, answers out. They see only ``fhir_server.core``."""
