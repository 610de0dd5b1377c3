"""FHIR packages as data: obtained, digested once, and served as one immutable registry."""
