from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server import fhirpath
from fhir_server.definitions.model import Definitions
from fhir_server.fhirpath.functions.conversion import to_string
from fhir_server.fhirpath.model import Model
from fhir_server.fhirpath.values import Temporal, compare_temporal

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Org"}],
    "name": [{"family": "A", "given": ["x", None], "_given": [None, {"extension": [{"url": "u"}]}]}, {"given": ["y"]}],
    "birthDate": "1970-03-30",
    "_birthDate": {"extension": [{"url": "time", "valueDateTime": "1970-03-30T10:00:00+09:00"}]},
    "managingOrganization": {"reference": "#o"},
    "generalPractitioner": [{"reference": "Practitioner/7"}],
}


@pytest.fixture(scope="module")
def model(definitions: Definitions) -> Model:
    return Model(definitions)


def run(model: Model, expression: str, resource: Any = PATIENT, **options: Any) -> list[Any]:
    items = fhirpath.compile(expression, model).evaluate(resource, **options)
    return [item.value if isinstance(item, fhirpath.Node) else item for item in items]


def test_a_node_knows_its_place(model: Model) -> None:
    nodes = fhirpath.compile("name.given", model).evaluate(PATIENT)
    assert [node.path() for node in nodes] == [
        "Patient.name[0].given[0]",
        "Patient.name[0].given[1]",
        "Patient.name[1].given[0]",
    ]
    assert [node.value for node in nodes] == ["x", None, "y"]


def test_a_choice_is_named_without_its_type(model: Model) -> None:
    resource = {"resourceType": "Observation", "component": [{"valueString": "x"}]}
    (node,) = fhirpath.compile("component.value", model).evaluate(resource)
    assert node.path() == "Observation.component[0].value"
    assert run(model, "component.valueString", resource) == []


def test_extensions_of_primitives_are_reached(model: Model) -> None:
    assert run(model, "birthDate.extension('time').value") == ["1970-03-30T10:00:00+09:00"]
    assert run(model, "name.given.select(hasValue())") == [True, False, True]


def test_resolve_looks_in_the_container_then_asks_the_hook(model: Model) -> None:
    assert run(model, "managingOrganization.resolve().name") == ["Org"]
    assert run(model, "generalPractitioner.resolve()") == []
    hooks = fhirpath.Hooks(resolve=lambda text: {"resourceType": "Practitioner", "id": text})
    assert run(model, "generalPractitioner.resolve().id", hooks=hooks) == ["Practitioner/7"]


def test_resolve_looks_in_the_bundle(model: Model) -> None:
    bundle = {
        "resourceType": "Bundle",
        "entry": [
            {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "p"}},
            {"resource": {"resourceType": "Observation", "subject": {"reference": "urn:uuid:1"}}},
            {"resource": {"resourceType": "Observation", "subject": {"reference": "Patient/p"}}},
        ],
    }
    assert run(model, "Bundle.entry.resource.ofType(Observation).subject.resolve().id", bundle) == ["p", "p"]


def test_what_a_missing_service_would_know_is_unknown(model: Model) -> None:
    with pytest.raises(fhirpath.UnknownAnswerError):
        run(model, "gender.memberOf('urn:vs')", {"resourceType": "Patient", "gender": "male"})
    hooks = fhirpath.Hooks(member_of=lambda value, url: value == "male" and url == "urn:vs")
    resource = {"resourceType": "Patient", "gender": "male"}
    assert run(model, "gender.memberOf('urn:vs')", resource, hooks=hooks) == [True]
    expression = fhirpath.compile("gender.memberOf('urn:vs')", model)
    assert expression.test(resource, resource, resource, "Patient") is None


def test_an_invariant_is_true_false_or_open(model: Model) -> None:
    organization = fhirpath.compile("name.exists() or telecom.exists()", model)
    assert organization.test({"name": {"text": "x"}}, PATIENT, PATIENT, "Patient.contact") is True
    assert organization.test({"gender": "male"}, PATIENT, PATIENT, "Patient.contact") is False
    period = fhirpath.compile("start <= end", model)
    assert period.test({"start": "2020", "end": "2020-01"}, PATIENT, PATIENT, "Period") is None
    assert period.test({"start": "2021", "end": "2020-01"}, PATIENT, PATIENT, "Period") is False


def test_presence_counts_an_element_that_has_only_extensions(model: Model) -> None:
    expression = fhirpath.compile("birthDate.exists()", model)
    resource = {"resourceType": "Patient", "_birthDate": {"extension": [{"url": "u", "valueCode": "x"}]}}
    assert expression.test(resource, resource, resource, "Patient") is True
    assert fhirpath.compile("birthDate.hasValue()", model).test(resource, resource, resource, "Patient") is False


def test_now_is_one_moment_throughout(model: Model) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert [to_string(item) for item in run(model, "now() | today()", moment=moment)] == [
        "2026-01-02T03:04:05.000Z",
        "2026-01-02",
    ]
    assert run(model, "now() = now()") == [True]


def test_decimals_are_exact(model: Model) -> None:
    assert run(model, "0.1 + 0.2 = 0.3") == [True]
    assert run(model, "1.50.toString()") == ["1.50"]


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("@2020-01-31 + 1 month", "2020-02-29"),
        ("@2020-02-29 + 1 year", "2021-02-28"),
        ("@2020-01 - 1 month", "2019-12"),
        ("@2020 + 24 months", "2022"),
        ("@2020-12-31T23:30:00+09:00 + 45 minutes", "2021-01-01T00:15:00+09:00"),
        ("@T23:30 + 1 hour", "00:30"),
        ("@2020-01-01T00:00:00.000Z + 1500 milliseconds", "2020-01-01T00:00:01.500Z"),
    ],
)
def test_date_arithmetic_keeps_precision_and_zone(model: Model, expression: str, answer: str) -> None:
    assert [to_string(item) for item in run(model, expression)] == [answer]


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("@2020-01-01T00:00:00+09:00 = @2019-12-31T15:00:00Z", [True]),
        ("@2020-01-01T00:00:00 < @2020-01-01T00:00:00Z", []),
        ("@2020-01-01T00:00:00 < @2020-01-03T00:00:00Z", [True]),
        ("@2020 = @2020-01", []),
        ("@2020 < @2021-01", [True]),
        ("@T10:00 < @T10:00:01", []),
    ],
)
def test_time_comparison_is_open_where_precision_or_zone_leaves_it_open(
    model: Model, expression: str, answer: list[bool]
) -> None:
    assert run(model, expression) == answer


@pytest.mark.parametrize(
    "expression",
    [
        "name.",
        "name..given",
        "(",
        "'open",
        "name.nofunction()",
        "name.first(1)",
        "@2020-02-30",
        "@T25:00",
        "1 = ",
        "#",
        "(" * 100 + "1" + ")" * 100,
        ".".join(["a"] * 3000),
    ],
)
def test_what_is_not_fhirpath_is_refused_when_compiled(model: Model, expression: str) -> None:
    with pytest.raises(fhirpath.FhirPathError):
        fhirpath.compile(expression, model)


@pytest.mark.parametrize(
    "expression",
    ["name.single()", "1 + 'a'", "'a' < 1", "name < name", "-'a'", "(1|2).not()", "%undefined", "1.5.round(-1)"],
)
def test_what_has_no_answer_is_an_error_without_data_in_it(model: Model, expression: str) -> None:
    with pytest.raises(fhirpath.FhirPathError) as error:
        run(model, expression)
    assert "FHIRPath" in str(error.value)


def test_errors_of_arithmetic_are_errors_of_the_expression(model: Model) -> None:
    with pytest.raises(fhirpath.FhirPathError):
        run(model, "123456789012345678901234567890.5.round(5)")


def test_html_checks_refuse_scripts_and_emptiness(model: Model) -> None:
    def check(div: str) -> list[Any]:
        return run(model, "text.`div`.htmlChecks()", {"resourceType": "Patient", "text": {"div": div}})

    namespace = 'xmlns="http://www.w3.org/1999/xhtml"'
    assert check(f"<div {namespace}><p>x</p></div>") == [True]
    assert check(f"<div {namespace}><script>x</script></div>") == [False]
    assert check(f'<div {namespace}><p onclick="x">x</p></div>') == [False]
    assert check(f'<div {namespace}><a href="javascript:x">x</a></div>') == [False]
    assert check(f"<div {namespace}>  </div>") == [False]
    assert check("<div>x</div>") == [False]
    assert check(f"<!DOCTYPE div [<!ENTITY e 'x'>]><div {namespace}>&e;</div>") == [False]


moments = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 - zones are added below
    lambda moment: moment.replace(microsecond=0)
)
zones = st.integers(-12 * 60, 14 * 60)


@given(moments, zones, zones)
def test_the_same_moment_in_two_zones_is_equal(moment: datetime, first: int, second: int) -> None:
    def written(offset: int) -> Temporal:
        local = moment + timedelta(minutes=offset)
        sign = "-" if offset < 0 else "+"
        value = Temporal.parse(f"{local.isoformat()}{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}")
        assert value is not None
        return value

    assert compare_temporal(written(first), written(second)) == 0


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9))
def test_boundaries_enclose_a_decimal(number: Decimal) -> None:
    model = Model(None)
    (low,) = run(model, "%x.lowBoundary()", {}, variables={"x": [number]})
    (high,) = run(model, "%x.highBoundary()", {}, variables={"x": [number]})
    assert low < number < high
    assert high - low == Decimal("0.0001")
