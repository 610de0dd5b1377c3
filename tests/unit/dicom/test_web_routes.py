"""Addresses of DICOMweb."""

import pytest

from adapters.dicom.model import Level
from adapters.dicom.web.errors import WebError
from adapters.dicom.web.routes import Resource, resolve

I = "/studies/1.2/series/1.3/instances/1.4"  # noqa: E741


@pytest.mark.parametrize(
    ("path", "resource", "level", "uids"),
    [
        ("", Resource.SERVICE, Level.STUDY, ("", "", "")),
        ("/", Resource.SERVICE, Level.STUDY, ("", "", "")),
        ("/studies", Resource.SEARCH, Level.STUDY, ("", "", "")),
        ("/series", Resource.SEARCH, Level.SERIES, ("", "", "")),
        ("/instances", Resource.SEARCH, Level.IMAGE, ("", "", "")),
        ("/studies/1.2/series", Resource.SEARCH, Level.SERIES, ("1.2", "", "")),
        ("/studies/1.2/instances", Resource.SEARCH, Level.IMAGE, ("1.2", "", "")),
        ("/studies/1.2/series/1.3/instances", Resource.SEARCH, Level.IMAGE, ("1.2", "1.3", "")),
        ("/studies/1.2", Resource.OBJECTS, Level.STUDY, ("1.2", "", "")),
        ("/studies/1.2/series/1.3", Resource.OBJECTS, Level.SERIES, ("1.2", "1.3", "")),
        (I, Resource.OBJECTS, Level.IMAGE, ("1.2", "1.3", "1.4")),
        ("/studies/1.2/metadata", Resource.METADATA, Level.STUDY, ("1.2", "", "")),
        ("/studies/1.2/series/1.3/rendered", Resource.RENDERED, Level.SERIES, ("1.2", "1.3", "")),
        (I + "/thumbnail", Resource.THUMBNAIL, Level.IMAGE, ("1.2", "1.3", "1.4")),
        (I + "/frames/1,2", Resource.FRAMES, Level.IMAGE, ("1.2", "1.3", "1.4")),
        (I + "/frames/1%2C2/rendered", Resource.RENDERED, Level.IMAGE, ("1.2", "1.3", "1.4")),
        (I + "/bulkdata/00540016/0/00181072", Resource.BULK, Level.IMAGE, ("1.2", "1.3", "1.4")),
        ("/studies/1.2/series/1.3/reject/113001^DCM", Resource.REJECT, Level.SERIES, ("1.2", "1.3", "")),
        ("/wado", Resource.URI, Level.STUDY, ("", "", "")),
    ],
)
def test_an_address_names_one_resource(path: str, resource: Resource, level: Level, uids: tuple[str, str, str]) -> None:
    found = resolve(path)
    assert (found.resource, found.level, (found.study, found.series, found.instance)) == (resource, level, uids)


@pytest.mark.parametrize(
    "path",
    ["/patients", "/studies/1.2/nothing", "/studies/1.2/frames/1", I + "/frames", I + "/metadata/x", I + "/bulkdata",
     "/studies/1.2/series/1.3/series", "/wado/x"],
)  # fmt: skip
def test_any_other_address_is_404(path: str) -> None:
    with pytest.raises(WebError) as error:
        resolve(path)
    assert error.value.status == 404


@pytest.mark.parametrize("path", ["/studies/abc", "/studies/" + "1" * 65, I + "/frames/0", I + "/frames/1,x"])
def test_what_is_no_uid_or_no_frame_number_is_400(path: str) -> None:
    with pytest.raises(WebError) as error:
        resolve(path)
    assert error.value.status == 400
