"""One message read and judged: whose it is, in which characters, and whether it is taken. No I/O."""

import logging

import msgspec

from adapters.hl7v2 import charset
from adapters.hl7v2.er7 import Er7, parse
from adapters.hl7v2.port import Peer, PortOptions
from adapters.ingest.admission import (
    Code,
    FormCheck,
    Verdict,
    check_admission,
    check_header,
    error,
    find_source,
    is_acknowledgement,
    judge,
)
from adapters.ingest.describe import read
from adapters.sources import Source, Sources
from fhir_server.core.messages import Finding

_log = logging.getLogger("adapters.ingest.examine")


class Examined(msgspec.Struct, frozen=True):
    """A message that was read and judged. ``er7`` None: not even that was possible."""

    er7: Er7 | None
    source: Source
    charset: str
    verdict: Verdict


def examine(
    raw: bytes, decoded: charset.Decoded, peer: Peer, port: PortOptions, sources: Sources, checks: FormCheck
) -> Examined:
    """Read and judge one message that came over this port."""
    er7 = parse(decoded.text)
    nobody = sources.derive("", "")
    if er7.header is None:
        finding = next((one for one in er7.findings if one.severity == "error"), error("100", "This is no message."))
        return Examined(None, nobody, decoded.charset, Verdict(Code.REJECT, (finding,)))
    try:
        found = find_source(er7, sources, port, peer.certificate)
        if isinstance(found, Finding):
            name = sources.derive(er7.value("MSH-3") or "", er7.value("MSH-4") or "")
            wrong = check_header(er7, checks) or found
            return Examined(er7, name, decoded.charset, Verdict(Code.REJECT, (wrong,)))
        if found.charset or found.join:
            er7, decoded = read(raw, found)
        return Examined(er7, found, decoded.charset, _judge(er7, decoded, found, port, checks))
    except Exception:  # noqa: BLE001 - whatever a sender wrote, it gets an answer, and the others are heard
        _log.exception("a message at port %s could not be examined", port.name)
        finding = error("207", "The message could not be examined.")
        return Examined(er7, nobody, decoded.charset, Verdict(Code.ERROR, (finding,)))


def _judge(er7: Er7, decoded: charset.Decoded, source: Source, port: PortOptions, checks: FormCheck) -> Verdict:
    if is_acknowledgement(er7):
        return Verdict(Code.ACCEPT)
    refused = check_header(er7, checks)
    warnings: tuple[Finding, ...] = ()
    if refused is None:
        refused, warnings = check_admission(er7, source, port)
    if refused is not None:
        return Verdict(Code.REJECT, (refused,))
    header = er7.header
    if port.sequence and len(er7.segments) == 1 and header is not None and header.raw(13).strip() in ("0", "-1"):
        return Verdict(Code.ACCEPT)  # about the link, without content
    return judge(er7, (*decoded.findings, *warnings), source.grade or port.grade, checks)
