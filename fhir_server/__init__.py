"""Renkei (連携): a FHIR R4 and IHE interoperability server for a regional health network."""

__version__ = "0.1.0"
