"""The narrative's rules, and that what passes is XML."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhirpath.narrative import faults, gate

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'


@pytest.mark.parametrize(
    "content",
    [
        "x", "<p>x</p>", "<br/>x", "<b>太郎</b>", "a &lt; b &amp; c", "&#12354;", "<!-- note -->x",
        '<a name="a"/>x', '<a href="https://example.org/?a=1&amp;b=2">x</a>', '<img src="#i" alt="a"/>',
        "<table><tr><td colspan='2'>x</td></tr></table>", '<p style="color: red" class="a" xml:lang="ja">x</p>',
        '<img src="data:image/png;base64,QUJD" alt="a"/>',
    ],
)  # fmt: skip
def test_formatting_is_allowed(content: str) -> None:
    assert faults(f"{DIV}{content}</div>") == []


@pytest.mark.parametrize(
    "content",
    [
        "", " ", "<p/>", "&#160;", "<!-- x -->", "<script>x</script>", "<SCRIPT>x</SCRIPT>", "<style>p {}</style>x",
        "<iframe src='a'/>x", "<object>x</object>", "<form>x</form>", "<input/>x", "<link href='a'/>x",
        "<svg><g/></svg>x", "<html>x</html>", "<body>x</body>", '<p onclick="a()">x</p>', '<p ONCLICK="a()">x</p>',
        '<a href="javascript:a()">x</a>', '<a href=" JAVA&#9;SCRIPT:a()">x</a>', '<a href="vbscript:a">x</a>',
        '<a href="data:text/html,a">x</a>', '<p style="width: expression(a)">x</p>', "<p>x", "x</p>", "<p>x</b>",
        "a & b", "a < b", "&nbsp;x", "&unknown;x", "<p a=b>x</p>", '<p class="a" class="b">x</p>', "<?php x ?>",
        "<![CDATA[x]]>", "<!DOCTYPE a>x", "x]]>", "&#0;x", "&#xD800;x", "<!-- a -- b -->x", "</div><div>x",
        "<p:b>x</p:b>", '<p xmlns="http://www.w3.org/2000/svg">x</p>', "a\x00b", '<p class="a"id="b">x</p>',
    ],
)  # fmt: skip
def test_anything_else_is_refused(content: str) -> None:
    assert faults(f"{DIV}{content}</div>")
    assert not gate()(f"{DIV}{content}</div>")


@pytest.mark.parametrize(
    "text",
    ["x", "<p>x</p>", "<div>x</div>", f"{DIV}x</div>y", f"{DIV}x</div>{DIV}x</div>", f"{DIV}x", f"x{DIV}x</div>"],
)
def test_the_narrative_is_one_div_in_its_namespace(text: str) -> None:
    assert faults(text)


PIECES = [
    "<p>", "</p>", "<b class='a'>", "</b>", "<br/>", "x", "&amp;", "&", "<", ">", "<!--", "-->", "-", "]]>", '"', "'",
    "<a href='#'>", "</a>", '<i\n id = "j" >', "</i >", "&#65;", "&#x41;", "&#0;", "]", "/", "=", "</div>", "<div>",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_what_passes_is_well_formed_xml(content: str) -> None:
    text = f"{DIV}{content}</div>"
    if not faults(text):
        ET.fromstring(text)


QUICK = gate()


@given(st.lists(st.sampled_from([*PIECES, "<p>", "</p>", "<b>", "</b>", "x"]), max_size=8).map("".join))
def test_the_quick_test_lets_nothing_through_that_has_faults(content: str) -> None:
    text = f"{DIV}{content}</div>"
    if QUICK(text):
        assert faults(text) == []


def test_the_quick_test_suffices_for_ordinary_narratives() -> None:
    assert QUICK(f'{DIV}<p class="a">x <b>y</b><br/></p><p class="a">&amp; z</p></div>')
