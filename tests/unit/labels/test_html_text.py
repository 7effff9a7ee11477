"""What a reader of HTML sees, however the markup is broken, and how long it takes to tell."""

import html
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prepal.labels.html_text import visible_text

MANY = 10**9


def seen(markup: str) -> str:
    return visible_text(markup, MANY, MANY)


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>Hello<br>you</p>", "Hello you"),
        ("<title>No</title><style>p{}</style><p>Hello<script>a<b</script> you</p><template>no</template>", "Hello you"),
        ("<head><title>No</title><body class=x>Yes", "Yes"),
        ("<header>Yes</header><headline>too</headline>", "Yes too"),
        ("<a title=\"a > b\" href='c>d'>link</a>", "link"),
        ("<p title=don't>one</p> <p>it's</p>", "one it's"),
        ("caf&eacute; &amp;amp; &#x4e2d;&nbsp;&lt;b&gt;", "café & 中 <b>"),
        ("I <3 you, 1<2, a < b", "I < 3 you, 1 < 2, a < b"),
        ("x <y", "x < y"),
        ("a<!-- no -->b<!-->c<!-- - -- > no", "a b c"),
        ("a<![CDATA[ x > y ]]>b<!DOCTYPE html>c<?xml x?>d", "a b c d"),
        ("a<script/>b<script>no", "a b"),
        ("a<SCRIPT>no</script\n>b</>c</3>d", "a b c d"),
        ("<ſcript>a</ſcript>", "< ſcript>a"),
        ("&#" + "9" * 5000 + "; &amp;#" + "9" * 5000 + "; b", "\ufffd \ufffd b"),
    ],
)
def test_what_is_seen_of_a_page(markup: str, text: str) -> None:
    assert seen(markup) == text


def test_a_tag_in_which_the_markup_was_cut_is_not_text() -> None:
    assert visible_text('Look: <img src="data:image/png;base64,iVBORw0KGgo">', 40, MANY) == "Look:"


class Parser(HTMLParser):
    """What the standard library's parser makes of a page: vectors of older releases rest on it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self._unseen += tag in ("script", "style", "head", "title", "template")

    def handle_endtag(self, tag: str) -> None:
        self._unseen = max(0, self._unseen - (tag in ("script", "style", "head", "title", "template")))

    def handle_data(self, data: str) -> None:
        self.words += [] if self._unseen else [data]


words = st.text(st.characters(codec="utf-8", exclude_characters="<>&"), max_size=8) | st.sampled_from(
    ["a", "b c", "&amp;", "&lt;b&gt;", "&nbsp;", "&#65;", "&eacute;t&eacute;", "x < y", "1<2", "AT&T", "&amp;lt;", "&"]
)
attributes = st.sampled_from(
    ["", " hidden", " class='a b'", ' href="x>y"', ' title="a<b>c"', ' alt="it\'s"', "\n id = 'q' ", " a=b c=d"]
)
names = st.sampled_from(["p", "div", "I", "SPAN", "h1", "td", "header", "titles", "svg", "x-y", "scripts"])
others = st.sampled_from(
    [
        *("<br>", "<br/>", "<img src='a>b' />", "<!-- a > b -- c -->", "<!---->", "<!doctype html>", "<?xml a='b'?>"),
        *("<![CDATA[ a > b ]]>", "<!--[if gte mso 9]><xml>x</xml><![endif]-->", "<title>t</title>", "<template/>"),
        *("<head><title>x</title><style>a</style></head>", "<template><p>x</p></template>", "<style>p>a{}</style>"),
        *("<script>if(a<b)x('<b>')</script>", "<SCRIPT async>document.write('<p>&amp;')</SCRIPT>"),
    ]
)
pages = st.lists(
    st.recursive(
        words | others,
        lambda inner: st.builds(
            lambda name, attribute, inside: f"<{name}{attribute}>{''.join(inside)}</{name}>",
            names,
            attributes,
            st.lists(inner, max_size=4),
        ),
        max_leaves=15,
    ),
    max_size=6,
).map("".join)


@given(pages | pages.map(lambda page: f"<html><head><title>T</title></head><body>{page}</body></html>"))
@settings(deadline=None)
def test_ordinary_pages_have_the_text_that_they_always_had(page: str) -> None:
    parser = Parser()
    parser.feed(page)
    parser.close()
    assert seen(page) == " ".join(html.unescape(" ".join(parser.words)).split())


pieces = st.lists(
    st.sampled_from(
        [
            *("<", "<!", "<!--", "-->", "--", "<![CDATA[", "]]>", "<?", "</", "<a", "<b>", ">", "=", '"', "'", "/"),
            *('="', "='", "<script", "<script>", "</script", "<style>", "<head>", "</head", "<title>", "<body>"),
            *("<template", "&", "&a", "&#1", "&#x", "&amp;", "&lt;", ";", "x", " ", "\n", "\0", "\ud800", "9" * 500),
        ]
    ),
    min_size=1,
    max_size=4,
).map("".join)


@given(pieces, pieces, pieces)
@settings(deadline=None, max_examples=60)
def test_no_markup_takes_more_time_than_grows_with_its_length(first: str, repeated: str, last: str) -> None:
    took = []
    for size in (10_000, 40_000, 160_000):
        markup = first + repeated * (size // len(repeated)) + last
        began = time.thread_time()
        seen(markup)
        took.append(time.thread_time() - began)
    assert max(took) < 1
    assert took[2] < 8 * took[1] + 0.05
