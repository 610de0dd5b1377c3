"""The 26 data types of the SS-MIX2 standard storage and their 36 messages (SS-MIX2 1.2h, table of data types)."""

from collections.abc import Mapping
from typing import NamedTuple


class DataType(NamedTuple):
    """One folder of the standard storage.

    ``message`` and ``cancel`` are MSH-9 ("" where nothing takes it back but a new message of the same kind).
    ``day`` are the places that 診療日 is taken from (none: the folder is ``-``); ``ordered`` where the order number
    stands (none: fifteen nines).
    """

    code: str
    name: str
    message: str
    cancel: str = ""
    structure: str = ""
    cancel_structure: str = ""
    day: tuple[str, ...] = ()
    ordered: str = ""


#: one data type, by its folder's name
DATA_TYPES: Mapping[str, DataType] = {
    one.code: one
    for one in (
        DataType("ADT-00", "患者基本情報", "ADT^A08", "ADT^A23", "ADT_A01", "ADT_A21"),
        DataType("ADT-01", "担当医", "ADT^A54", "ADT^A55", "ADT_A54", "ADT_A52"),
        DataType("ADT-12", "外来診察の受付", "ADT^A04", "", "ADT_A01", "", ("PV1-44",)),
        DataType("ADT-21", "入院予定", "ADT^A14", "ADT^A27", "ADT_A05", "ADT_A21", ("PV2-8",)),
        DataType("ADT-22", "入院実施", "ADT^A01", "ADT^A11", "ADT_A01", "ADT_A09", ("PV1-44",)),
        DataType("ADT-31", "外出泊実施", "ADT^A21", "ADT^A52", "ADT_A21", "ADT_A52", ("EVN-6",)),
        DataType("ADT-32", "外出泊帰院実施", "ADT^A22", "ADT^A53", "ADT_A21", "ADT_A52", ("EVN-6", "PV2-47")),
        DataType("ADT-41", "転科・転棟予定", "ADT^A15", "ADT^A26", "ADT_A15", "ADT_A21", ("PV2-8",)),
        DataType("ADT-42", "転科・転棟実施", "ADT^A02", "ADT^A12", "ADT_A02", "ADT_A09", ("EVN-6",)),
        DataType("ADT-51", "退院予定", "ADT^A16", "ADT^A25", "ADT_A16", "ADT_A21", ("PV2-9",)),
        DataType("ADT-52", "退院実施", "ADT^A03", "ADT^A13", "ADT_A03", "ADT_A01", ("PV1-45",)),
        DataType("ADT-61", "アレルギー情報", "ADT^A60", "", "ADT_A60"),
        DataType("PPR-01", "病名(歴)情報", "PPR^ZD1", "", "PPR_ZD1"),
        DataType("OMD", "食事オーダ", "OMD^O03", "", "OMD_O03", "", ("ORC-9",), "ORC-2"),
        DataType("OMP-01", "処方オーダ", "RDE^O11", "", "RDE_O11", "", ("ORC-9",), "ORC-2"),
        DataType("OMP-11", "処方実施通知", "RAS^O17", "", "RAS_O17", "", ("RXA-3",), "ORC-2"),
        DataType("OMP-02", "注射オーダ", "RDE^O11", "", "RDE_O11", "", ("ORC-9",), "ORC-2"),
        DataType("OMP-12", "注射実施通知", "RAS^O17", "", "RAS_O17", "", ("RXA-3",), "ORC-2"),
        DataType("OML-01", "検体検査オーダ", "OML^O33", "", "OML_O33", "", ("ORC-9",), "ORC-2"),
        DataType("OML-11", "検体検査結果通知", "OUL^R22", "", "OUL_R22", "", ("SPM-17", "OBR-7"), "OBR-2"),
        DataType("OMG-01", "放射線検査オーダ", "OMG^O19", "", "OMG_O19", "", ("ORC-9",), "ORC-2"),
        DataType("OMG-11", "放射線検査の実施通知", "OMI^Z23", "", "OMI_Z23", "", ("OBR-7",), "ORC-2"),
        DataType("OMG-02", "内視鏡検査オーダ", "OMG^O19", "", "OMG_O19", "", ("ORC-9",), "ORC-2"),
        DataType("OMG-12", "内視鏡検査の実施通知", "OMI^Z23", "", "OMI_Z23", "", ("OBR-7",), "ORC-2"),
        DataType("OMG-03", "生理検査オーダ", "OMG^O19", "", "OMG_O19", "", ("ORC-9",), "ORC-2"),
        DataType("OMG-13", "生理検査結果通知", "ORU^R01", "", "ORU_R01", "", ("OBR-7",), "OBR-2"),
    )
}
