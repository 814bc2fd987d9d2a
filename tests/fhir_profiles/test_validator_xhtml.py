"""Narratives hold formatting, and nothing that runs (R4 narrative.html)."""

import pytest

from fhir_profiles.validator.xhtml import check

NS = 'xmlns="http://www.w3.org/1999/xhtml"'


@pytest.mark.parametrize(
    "inside",
    [
        "Nguyễn Thị Hoa",
        "<p>a<br/>b</p>",
        "<p class='x' style='color: red' title='t' lang='vi' xml:lang='vi'>a</p>",
        "<table border='1'><thead><tr><th scope='col'>a</th></tr></thead><tbody><tr><td colspan='2'>b</td></tr></tbody></table>",
        "<a href='https://example.org/java?x=1'>a</a>",
        "<a name='top'>a</a><a href='#top'>b</a>",
        "<img src='#photo' alt='x'/>",
        "<img src='data: image/png;base64,AAAA' alt=''/>",
        "<ul><li>a</li></ul><ol><li>b</li></ol><dl><dt>c</dt><dd>d</dd></dl>",
        "<!-- a comment --><b>x</b>",
        "&lt;script&gt; &amp; &#160; &#x1EC5;",
        "<![CDATA[text]]>",
        "<h:p xmlns:h='http://www.w3.org/1999/xhtml'>x</h:p>",
    ],
)
def test_allowed(inside: str) -> None:
    assert check(f"<div {NS}>{inside}</div>") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "<div>no namespace</div>",
        f"<p {NS}>no div</p>",
        f"<div {NS}> \n </div>",
        f"<div {NS}/>",
        f"<div {NS}>open",
        f"<div {NS}>a</div><div {NS}>b</div>",
        f"<div {NS}>&nbsp;</div>",
        f"<!DOCTYPE div [<!ENTITY a 'b'>]><div {NS}>&a;</div>",
        f"<!DOCTYPE html><div {NS}>x</div>",
        f"<?php x ?><div {NS}>x</div>",
        f'<?xml-stylesheet href="x"?><div {NS}>x</div>',
        *(
            f"<div {NS}>x{inside}</div>"
            for inside in (
                "<script>x</script>",
                "<SCRIPT>x</SCRIPT>",
                "<iframe src='x'/>",
                "<object data='x'/>",
                "<form action='x'/>",
                "<input/>",
                "<style>p {}</style>",
                "<link href='x'/>",
                "<base href='x'/>",
                "<body>x</body>",
                "<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
                "<x xmlns=''/>",
                "<p onclick='x'>x</p>",
                "<p OnClick='x'>x</p>",
                "<img src='a' onerror='x'/>",
                "<a href='javascript:x'>x</a>",
                "<a href=' JaVa\tScript:x'>x</a>",
                "<a href='&#1;java&#10;script:x'>x</a>",
                "<a href='vbscript:x'>x</a>",
                "<a href='data:text/html,x'>x</a>",
                "<a href='data:image/svg+xml,x'>x</a>",
                "<img src='data:text/html,x'/>",
                "<p style='width: expression(x)'>x</p>",
                "<p style='background: url(javascript:x)'>x</p>",
                "<p style='@import x'>x</p>",
                "<a xlink:href='x' xmlns:xlink='http://www.w3.org/1999/xlink'>x</a>",
            )
        ),
    ],
)
def test_refused(text: str) -> None:
    assert check(text) is not None


def test_a_deep_or_long_narrative_ends_soon() -> None:
    assert check(f"<div {NS}>" + "<b>" * 5000 + "x" + "</b>" * 5000 + "</div>") is not None
    assert check(f"<div {NS}>{'<b>x</b>' * 50_000}</div>") is None
