"""The image index as rows: the rows of studies, series and instances; what can be asked for is in :mod:`.fields`."""

import msgspec

from adapters.dicom.archive.fields import (
    INSTANCE,
    LAYOUTS,
    PACK,
    SERIES,
    STUDY,
    WORK,
    Fields,
    instance_fields,
    series_fields,
    study_fields,
)
from adapters.dicom.model import Instance, Series, Study
from fhir_server.core.tables import Row, RowWrite

__all__ = (
    "INSTANCE",
    "LAYOUTS",
    "PACK",
    "SERIES",
    "STUDY",
    "WORK",
    "instance_row",
    "read_instance",
    "read_series",
    "read_study",
    "series_row",
    "study_row",
)

_encode = msgspec.msgpack.Encoder().encode
_study = msgspec.msgpack.Decoder(Study).decode
_series = msgspec.msgpack.Decoder(Series).decode
_instance = msgspec.msgpack.Decoder(Instance).decode


def study_row(study: Study) -> RowWrite:
    """Return the row of a study at ``study.revision``."""
    return _row(STUDY, study.uid, study.revision, _encode(study), study_fields(study))


def series_row(series: Series) -> RowWrite:
    """Return the row of a series at ``series.revision``."""
    return _row(SERIES, series.uid, series.revision, _encode(series), series_fields(series))


def instance_row(instance: Instance) -> RowWrite:
    """Return the row of an instance at ``instance.revision``."""
    return _row(INSTANCE, instance.uid, instance.revision, _encode(instance), instance_fields(instance))


def read_study(row: Row) -> Study:
    """Return the study of a row, at the row's revision."""
    return msgspec.structs.replace(_study(row.content), revision=row.revision)


def read_series(row: Row) -> Series:
    """Return the series of a row, at the row's revision."""
    return msgspec.structs.replace(_series(row.content), revision=row.revision)


def read_instance(row: Row) -> Instance:
    """Return the instance of a row, at the row's revision."""
    found = _instance(row.content)
    return found if found.revision == row.revision else msgspec.structs.replace(found, revision=row.revision)


def _row(table: str, id_: str, revision: int, content: bytes, fields: Fields) -> RowWrite:
    return RowWrite(table=table, id=id_, revision=revision, content=content, fields=fields)
