"""Validation on write: base R4 structure, primitives, bindings, references, narrative and invariants as issues."""

from fhir_server.validation.validator import Validator, compile_validator

__all__ = ["Validator", "compile_validator"]
