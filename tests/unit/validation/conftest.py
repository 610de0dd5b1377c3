"""One validator for all tests of this room."""

import pytest

from fhir_server.definitions.model import Definitions
from fhir_server.validation import Validator, compile_validator


@pytest.fixture(scope="session")
def validator(definitions: Definitions) -> Validator:
    return compile_validator(definitions)
