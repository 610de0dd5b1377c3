"""The XHTML of a narrative (FHIR R4 narrative.html): well-formed, only formatting, nothing that acts, not empty."""

import html
import re
from collections.abc import Callable, Iterator

XHTML = "http://www.w3.org/1999/xhtml"

_ELEMENTS = frozenset(
    (  # noqa: SIM905
        "a abbr acronym address area b bdo big blockquote br caption cite code col colgroup dd del dfn div dl dt em "
        "h1 h2 h3 h4 h5 h6 hr i img ins kbd li map ol p pre q samp small span strong sub sup table tbody td tfoot "
        "th thead tr tt u ul var"
    ).split()
)
_ATTRIBUTES = frozenset(
    (  # noqa: SIM905
        "abbr accesskey align alt axis bgcolor border cellpadding cellspacing char charoff charset cite class color "
        "colspan coords datetime dir frame headers height href hreflang id ismap lang longdesc name nohref nowrap "
        "rel rev rowspan rules scope shape span src start style summary tabindex target title type usemap valign "
        "value width xml:base xml:id xml:lang xml:space xmlns"
    ).split()
)
_LINKS = frozenset({"href", "src", "cite", "longdesc", "usemap"})

_NAME = r"[A-Za-z_][A-Za-z0-9_.\-]*(?::[A-Za-z_][A-Za-z0-9_.\-]*)?"
_token = re.compile(
    rf"<(?:!--(?:[^-]|-[^-])*-->|(/?)({_NAME})((?:\s+{_NAME}\s*=\s*(?:\"[^\"<]*\"|'[^'<]*'))*)\s*(/?)>)", re.DOTALL
)
_tags = re.compile(r"(<[^<>]*>)")
_NAMESPACE = f'xmlns="{XHTML}"'
_REMEMBERED = 1024
_REMEMBERED_LENGTH = 128
_attribute = re.compile(rf"({_NAME})\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_entity = re.compile(r"&(?:#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6})|([A-Za-z][A-Za-z0-9]{1,30}));")
_xml_entities = frozenset({"amp", "lt", "gt", "quot", "apos"})
_not_in_xml = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ignored_in_scheme = re.compile(r"[\x00-\x20\u00a0\u200b-\u200d\ufeff]")
_ACTIVE_SCHEMES = ("javascript:", "vbscript:", "data:text/html", "data:application", "data:image/svg")
_ACTIVE_STYLES = ("expression(", "javascript:", "vbscript:", "@import", "behavior:", "-moz-binding")


def gate() -> Callable[[str], bool]:
    """Return a quick test that is True only for narratives without faults.

    It remembers tags, which repeat, and leaves whatever is unusual (comments, ``>`` in attributes) to :func:`faults`.
    """
    closed_by: dict[str, str] = {}  # start tag -> its end tag; end and empty tags -> ""

    def learn(tag: str) -> str | None:
        token = _token.fullmatch(tag)
        if token is None or token[2] not in _ELEMENTS or any(True for _ in _attribute_faults(token[2], token[3])):
            return None
        if token[1]:
            end = "" if tag == f"</{token[2]}>" else None
        else:
            end = "" if token[4] else f"</{token[2]}>"
        if end is not None and len(tag) <= _REMEMBERED_LENGTH:
            if len(closed_by) >= _REMEMBERED:
                closed_by.clear()
            closed_by[tag] = end
        return end

    def is_clean(div: str) -> bool:
        pieces = _tags.split(div)
        if len(pieces) < 5 or pieces[0] or pieces[-1].strip(" \t\r\n") or pieces[-2] != "</div>":
            return False
        start = pieces[1]
        if not start.startswith("<div ") or _NAMESPACE not in start or learn(start) != "</div>":
            return False
        expected: list[str] = []
        for tag in pieces[3:-2:2]:
            end = closed_by.get(tag)
            if end is None:
                end = learn(tag)
                if end is None:
                    return False
            if end:
                expected.append(end)
            elif tag[1] == "/" and (not expected or expected.pop() != tag):
                return False
        text = "\n".join(pieces[2::2])
        if expected or "<" in text or ">" in text or _not_in_xml.search(text):
            return False
        if "&" in text:
            return not any(True for _ in _entity_faults(text)) and not _is_blank(text)
        return not text.isspace()

    return is_clean


def faults(div: str) -> list[str]:
    """Return what is wrong with the narrative, in words that quote no content; empty if nothing is."""
    return list(dict.fromkeys(_faults(div)))


def _faults(div: str) -> Iterator[str]:
    text = div.strip(" \t\r\n")
    if not text.startswith("<div"):
        yield "the narrative must be one <div> element"
        return
    if _not_in_xml.search(text):
        yield "the narrative holds characters that XML does not allow"
    open_elements: list[str] = []
    position = 0
    has_content = False
    for token in _token.finditer(text):
        between = text[position : token.start()]
        position = token.end()
        if between:
            yield from _text_faults(between)
            has_content = has_content or not _is_blank(between)
        closing, name, attributes, empty = token.groups()
        if name is None:  # a comment
            continue
        if closing:
            if attributes or empty or not open_elements or open_elements.pop() != name:
                yield "the narrative is not well-formed: elements are not closed in order"
                return
            if not open_elements and position < len(text):
                yield "the narrative must be one <div> element"
                return
            continue
        if name not in _ELEMENTS:
            yield f"element <{name[:32]}> is not allowed in a narrative"
        if not open_elements and f'xmlns="{XHTML}"' not in attributes and f"xmlns='{XHTML}'" not in attributes:
            yield f"the narrative's <div> must be in the namespace {XHTML}"
        if attributes:
            yield from _attribute_faults(name, attributes)
        has_content = has_content or (name == "img" and "src" in attributes)
        if not empty:
            open_elements.append(name)
        elif not open_elements and position < len(text):
            yield "the narrative must be one <div> element"
            return
    if open_elements or position < len(text):
        yield "the narrative is not well-formed XML"
    elif not has_content:
        yield "the narrative must have some non-white-space content"


def _text_faults(text: str) -> Iterator[str]:
    if "<" in text or "]]>" in text:
        yield "the narrative is not well-formed XML"
    if "&" in text:
        yield from _entity_faults(text)


def _entity_faults(text: str) -> Iterator[str]:
    if "&" in _entity.sub("", text):
        yield "the narrative is not well-formed: '&' must be written &amp;"
    for decimal, hexadecimal, name in _entity.findall(text):
        if name and name not in _xml_entities:
            yield f"&{name}; is not an entity of XML: write the character itself"
        elif not name:
            number = int(decimal) if decimal else int(hexadecimal, 16)
            if number == 0 or number > 0x10FFFF or _not_in_xml.match(chr(number)):
                yield "the narrative is not well-formed: a character reference to no character"


def _is_blank(text: str) -> bool:
    return not text.strip() or ("&" in text and not html.unescape(text).strip())


def _attribute_faults(element: str, attributes: str) -> Iterator[str]:
    seen: set[str] = set()
    for name, double, single in _attribute.findall(attributes):
        if name in seen:
            yield f"attribute {name[:32]} is given twice"
        seen.add(name)
        value = double or single
        if name not in _ATTRIBUTES:
            yield f"attribute {name[:32]} is not allowed in a narrative"
        elif name == "xmlns" and value != XHTML:
            yield f"element <{element}> is not in the namespace {XHTML}"
        if "&" in value:
            yield from _entity_faults(value)
        if name in _LINKS or name == "style":
            plain = _ignored_in_scheme.sub("", html.unescape(value)).lower()
            if name == "style" and any(active in plain for active in _ACTIVE_STYLES):
                yield "a style in the narrative must not run anything"
            if name in _LINKS and plain.startswith(_ACTIVE_SCHEMES):
                yield "a link in the narrative must not run anything"
