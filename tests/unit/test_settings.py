"""Settings: defaults, file, environment, flags, in that order; what cannot be is explained."""

from pathlib import Path

import pytest

from fhir_server.settings import ALLOW_PUBLIC, Settings, SettingsError, read


def test_without_anything_the_defaults_hold() -> None:
    settings = read({})
    assert settings == Settings()
    assert settings.address == ("127.0.0.1", 8080)
    assert str(settings.zone) == "Asia/Tokyo"
    assert settings.body_limit == 50 * 1024 * 1024


def test_flags_beat_environment_beats_file_beats_defaults(tmp_path: Path) -> None:
    (tmp_path / "renkei.toml").write_text('workers = 1\ntimezone = "UTC"\nhttp = "127.0.0.1:1"\n')
    environment = {"RENKEI_DATA": str(tmp_path), "RENKEI_WORKERS": "2", "RENKEI_HTTP": "127.0.0.1:2"}
    settings = read(environment, {"http": "127.0.0.1:3", "workers": None})
    assert (settings.http, settings.workers, settings.timezone) == ("127.0.0.1:3", 2, "UTC")
    assert settings.data_folder == tmp_path


def test_a_named_file_is_read_and_must_exist(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("workers = 3\n")
    assert read({"RENKEI_CONFIG": str(tmp_path / "my.toml")}).workers == 3
    with pytest.raises(SettingsError, match="no file"):
        read({"RENKEI_CONFIG": str(tmp_path / "other.toml")})


@pytest.mark.parametrize("value", ["true", "1", "True"])
def test_texts_become_what_the_setting_is(value: str) -> None:
    settings = read({"RENKEI_ACCESS_LOG": value, "RENKEI_REQUEST_TIMEOUT": "2.5"})
    assert (settings.access_log, settings.request_timeout) == (True, 2.5)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"RENKEI_WORKRES": "1"}, "did you mean RENKEI_WORKERS"),
        ({"RENKEI_XYZZY": "1"}, "no such setting"),
        ({"RENKEI_WORKERS": "many"}, "workers: "),
        ({"RENKEI_WORKERS": "-1"}, "too small"),
        ({"RENKEI_WORKERS": "1000"}, "too many"),
        ({"RENKEI_BODY_LIMIT_MB": "0"}, "too small"),
        ({"RENKEI_HTTP": "8080"}, "host:port"),
        ({"RENKEI_HTTP": "127.0.0.1:99999"}, "host:port"),
        ({"RENKEI_HTTP": "0.0.0.0:8080"}, ALLOW_PUBLIC),
        ({"RENKEI_HTTP": "hospital.example:8080"}, ALLOW_PUBLIC),
        ({"RENKEI_ALLOW_UNPROTECTED_PUBLIC_ACCESS": "yes"}, "the only value"),
        ({"RENKEI_TIMEZONE": "Tokyo"}, "Asia/Tokyo"),
        ({"RENKEI_TIMEZONE": "../etc/passwd"}, "time zone name"),
        ({"RENKEI_MONGODB_URL": "localhost"}, "mongodb://"),
        ({"RENKEI_MONGODB_DATABASE": "a b"}, "database name"),
        ({"RENKEI_LOG_LEVEL": "loud"}, "log_level"),
        ({"RENKEI_MLLP": "2575"}, "host:port"),
        ({"RENKEI_MLLP": "0.0.0.0:2575"}, "client_authorities"),
        ({"RENKEI_MLLP": "127.0.0.1:2575, 127.0.0.1:2575"}, "given twice"),
        ({"RENKEI_MLLP_PORT": "x"}, "only be set in renkei.toml"),
        ({"RENKEI_FEEDS_GRADE": "loose"}, "feeds_grade"),
        ({"RENKEI_DICOM": "11112"}, "host:port"),
        ({"RENKEI_DICOM": "0.0.0.0:11112"}, "client_authorities"),
        ({"RENKEI_DICOM": "127.0.0.1:1, 127.0.0.1:1"}, "dicom: 127.0.0.1:1 is given twice"),
        ({"RENKEI_DICOM_PEER": "x"}, "only be set in renkei.toml"),
        ({"RENKEI_PAGE_DEFAULT": "5000"}, "over page_limit"),
    ],
)
def test_what_cannot_be_is_explained(environment: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(environment)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("workres = 1", "did you mean 'workers'"),
        ("workers = ", "renkei.toml"),
        ("dicom = 'x'", "host:port"),
        ("[[dicom_port]]\naddress = '10.0.0.1:1'\ncertificate = 'c'\nkey = 'k'", "client_authorities"),
        ("dicom_peer = 1", "dicom_peer"),
        ("[http]\na=1", "http"),
        ("[[mllp_port]]\naddress = '10.0.0.1:1'\ncertificate = 'c'\nkey = 'k'", "client_authorities"),
        ("[[mllp_port]]\naddress = '127.0.0.1:1'\ncertificate = 'c'", "belong together"),
        ("[[mllp_port]]\nname = 'x'", "host:port"),
        ("mllp_port = 1", "mllp_port"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "renkei.toml").write_text(content)
    with pytest.raises(SettingsError) as caught:
        read({"RENKEI_DATA": str(tmp_path)})
    assert says in str(caught.value)


@pytest.mark.parametrize("http", ["127.0.0.1:0", "[::1]:80", "localhost:80", "127.3.2.1:5"])
def test_loopback_addresses_need_no_permission(http: str) -> None:
    assert read({"RENKEI_HTTP": http}).http == http


def test_a_public_address_needs_the_ugly_setting() -> None:
    environment = {"RENKEI_HTTP": "0.0.0.0:80", "RENKEI_ALLOW_UNPROTECTED_PUBLIC_ACCESS": ALLOW_PUBLIC}
    assert read(environment).address == ("0.0.0.0", 80)


def test_other_programs_variables_and_those_of_tests_are_left_alone() -> None:
    assert read({"HOME": "/", "RENKEI_TEST_DATA": "x", "RENKEI_BENCH_X": "y"}) == Settings()


def test_the_cache_follows_the_memory_within_bounds_unless_given() -> None:
    assert 256 <= Settings().mongodb_cache <= 2048
    assert Settings(mongodb_cache_mb=300).mongodb_cache == 300


def test_messages_are_heard_on_the_loopback_unless_told_otherwise() -> None:
    assert read({}).mllp_addresses == ("127.0.0.1:2575",)
    assert read({"RENKEI_MLLP": ""}).mllp_addresses == ()
    assert read({"RENKEI_MLLP": "127.0.0.1:1, [::1]:2"}).mllp_addresses == ("127.0.0.1:1", "[::1]:2")
    assert read({"RENKEI_DICOM": ""}).dicom_addresses == ()
    assert read({"RENKEI_DICOM": "127.0.0.1:1, [::1]:2"}).dicom_addresses == ("127.0.0.1:1", "[::1]:2")


def test_a_port_that_asks_for_certificates_may_be_public(tmp_path: Path) -> None:
    table = "[[mllp_port]]\naddress = '0.0.0.0:2576'\ncertificate = 'c'\nkey = 'k'\nclient_authorities = 'ca'\n"
    (tmp_path / "renkei.toml").write_text(table)
    settings = read({"RENKEI_DATA": str(tmp_path)})
    assert settings.mllp_addresses == ("127.0.0.1:2575", "0.0.0.0:2576")
    assert settings.mllp_port[0]["client_authorities"] == "ca"
