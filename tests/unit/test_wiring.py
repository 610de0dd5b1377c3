import pytest

from fhir_server.settings import Settings
from fhir_server.wiring import own_bases


@pytest.mark.parametrize(
    ("settings", "bases"),
    [
        (Settings(http="127.0.0.1:8080"), ("http://127.0.0.1:8080/fhir", "http://localhost:8080/fhir")),
        (Settings(http="localhost:1"), ("http://127.0.0.1:1/fhir", "http://localhost:1/fhir")),
        (Settings(http="10.0.0.7:80"), ("http://10.0.0.7:80/fhir",)),
        (Settings(public_url="https://fhir.example"), ("https://fhir.example/fhir",)),
    ],
)
def test_references_below_the_address_clients_use_are_our_own(settings: Settings, bases: tuple[str, ...]) -> None:
    assert own_bases(settings) == bases
