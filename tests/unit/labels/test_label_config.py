"""What can be served, what is refused and how, and what the text of a task is."""

import time
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prepal.errors import PrepalError
from prepal.labels.label_config import LabelConfig, parse
from prepal.labels.text_fields import MOST_CHARS, UnembeddableError

SINGLE = """<View><Text name="text" value="$text"/><Choices name="topic" toName="text" choice="single">
<Choice value="A"/><Choice value="B" alias="b"/></Choices></View>"""


def config_of(tags: str, to: str = "t") -> LabelConfig:
    return parse(f'<View>{tags}<Choices name="c" toName="{to}"><Choice value="A"/><Choice value="B"/></Choices></View>')


def test_the_choices_are_the_values_that_annotations_carry() -> None:
    config = parse(SINGLE)
    assert (config.from_name, config.to_name, config.choices, config.multiple) == ("topic", "text", ("A", "b"), False)


def test_the_words_of_a_choice_are_all_that_the_config_says_of_it() -> None:
    xml = """<View><Text name="text" value="$text"/><Choices name="topic" toName="text">
      <Choice value="Billing" alias="bill" hint="invoices, refunds"/><Choice value="Other"/></Choices></View>"""
    config = parse(xml)
    assert config.choices == ("bill", "Other")
    assert config.words == ("Billing bill invoices, refunds", "Other")


def test_several_choices_may_be_chosen_when_the_config_says_so() -> None:
    assert parse(SINGLE.replace('"single"', '"multiple"')).multiple


def test_several_text_fields_are_joined_in_the_order_of_the_config() -> None:
    config = config_of('<Header value="Read"/><Text name="t" value="$title"/><HyperText name="h" value="$body"/>')
    assert config.text({"title": " One ", "body": "<p>Two &amp; <b>three</b></p>"}) == "One\nTwo & three"


def test_tags_scripts_and_styles_of_hypertext_are_not_text() -> None:
    config = config_of('<HyperText name="t" value="$h"/>')
    html = "<style>p{}</style><p>Hello<script>alert(1)</script> you</p>"
    assert config.text({"h": html}) == "Hello you"


def test_tags_in_plain_text_are_what_the_customer_wrote() -> None:
    config = config_of('<Text name="t" value="$x"/>')
    assert config.text({"x": "<script>alert(1)</script>"}) == "<script>alert(1)</script>"


def test_paragraphs_are_read_with_their_speakers() -> None:
    config = config_of('<Paragraphs name="t" value="$d" nameKey="who" textKey="said"/>')
    assert config.text({"d": [{"who": "Ann", "said": "Hi"}, {"said": "Yes?"}]}) == "Ann: Hi\nYes?"


def test_nested_fields_are_found() -> None:
    assert config_of('<Text name="t" value="$a.b"/>').text({"a": {"b": "deep"}}) == "deep"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"x": ""}, "empty text"),
        ({"x": "  \n "}, "empty text"),
        ({"x": None}, "the field 'x' is null"),
        ({"y": "no x"}, "the config reads $x, the task has 'y': rename one of them"),
        ({}, "the config reads $x, the task has no fields: rename one of them"),
        (None, "the task's data is not an object"),
        (["x"], "the task's data is not an object"),
    ],
)
def test_a_task_without_text_says_why(data: object, reason: str) -> None:
    with pytest.raises(UnembeddableError) as error:
        config_of('<Text name="t" value="$x"/>').text(data)
    assert str(error.value) == reason


def test_one_empty_field_of_two_does_not_hide_the_other() -> None:
    config = config_of('<Text name="t" value="$x"/><Text name="u" value="$y"/>')
    assert config.text({"x": None, "y": "here"}) == "here"


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ('<View><Text name="t" value="$t"/><Labels name="l" toName="t"/></View>', "has Labels, but no Choices"),
        ("<View/>", "has no Choices"),
        ("<View>", "is not XML that can be read"),
        (SINGLE.replace('toName="text"', 'toName="text" perRegion="true"'), "it is per region or per item"),
        (SINGLE.replace('choice="single"', 'value="$options"'), "its choices come from the task's data"),
        (SINGLE.replace("<Text", "<Image"), "no text field"),
        (SINGLE.replace('toName="text"', 'toName="picture"'), "it points to 'picture'"),
        (SINGLE.replace('<Choice value="A"/>', ""), "it has 1 choice"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View>&a;</View>', "is not XML that can be read"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_tags_that_can(xml: str, words: str) -> None:
    with pytest.raises(PrepalError) as error:
        parse(xml)
    assert words in str(error.value)
    assert str(error.value).endswith(
        "PRepAL serves Choices and Taxonomy, single or multiple, over Text, HyperText, Paragraphs and Chat."
    )


def test_other_controls_beside_choices_are_ignored_and_named() -> None:
    xml = SINGLE.replace("</View>", '<Rating name="stars" toName="text"/></View>')
    assert parse(xml).ignored == ("Rating",)


def test_the_text_version_changes_with_the_fields_and_not_with_the_choices() -> None:
    other_choice, other_field = SINGLE.replace('"A"', '"C"'), SINGLE.replace("$text", "$body")
    assert parse(SINGLE).text_version == parse(other_choice).text_version != parse(other_field).text_version


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(json_values, st.sampled_from(["Text", "HyperText", "Paragraphs", "Chat"]))
def test_whatever_a_field_holds_gives_a_text_or_a_reason(value: object, tag: str) -> None:
    config = config_of(f'<{tag} name="t" value="$x"/>')
    text, reason = None, None
    try:
        text = config.text({"x": value})
    except UnembeddableError as error:
        reason = str(error)
    assert (text or reason or "").strip()


def nested(depth: int) -> object:
    value: object = "deep"
    for _ in range(depth):
        value = [value]
    return value


large = st.builds(
    lambda piece, shape, size: shape(piece, max(1, size // max(1, len(piece)))),
    st.text(st.characters(exclude_categories=()) | st.sampled_from("<>!-&='\"/ "), min_size=1, max_size=6),
    st.sampled_from(
        [
            lambda piece, count: piece * count,
            lambda piece, count: [piece] * count,
            lambda piece, count: [{"author": piece, "text": piece}] * (count // 10),
            lambda piece, count: [{"text": piece * (count // 10)}] * 10,
            lambda piece, count: [{"text": [piece] * (count // 10), "author": {piece: [piece]}}] * 10,
            lambda _, count: [{}] * count,
            lambda piece, count: {f"{piece}{number}": number for number in range(count // 20)},
            lambda piece, count: {piece * count: 1},
            lambda _, count: [nested(count // 50)],
            lambda _, count: nested(count // 50),
            lambda _, count: 1 << 3 * count,
            lambda _, count: [1 << 3 * count],
            lambda _, count: " " * count,
        ]
    ),
    st.sampled_from([50_000, 500_000, 5_000_000]),
)


@given(large, st.sampled_from(["Text", "HyperText", "Paragraphs", "Chat"]))
@settings(deadline=None, max_examples=60)
def test_no_task_whatever_its_size_takes_long(value: object, tag: str) -> None:
    config = config_of(f'<{tag} name="t" value="$x"/>')
    began = time.thread_time()
    try:
        told = config.text_for_encoder({"x": value})
    except UnembeddableError as reason:
        told = str(reason)
    assert 0 < len(told) <= MOST_CHARS
    assert time.thread_time() - began < 1


@pytest.mark.parametrize("markup", ["<!", "<a ", "<![CDATA[", "<!--", "<?", "</", '<a x="', "&"])
def test_markup_that_is_never_closed_takes_no_time(markup: str) -> None:
    config = config_of('<HyperText name="t" value="$x"/>')
    began = time.thread_time()
    config.text({"x": "Read this. " + markup * 16_000})
    assert time.thread_time() - began < 1


def test_one_long_field_of_several_leaves_room_for_the_others() -> None:
    config = config_of('<Text name="t" value="$x"/><Text name="u" value="$y"/>')
    assert config.text({"x": "a" * 60_000, "y": "b"}) == "a" * 60_000 + "\nb"
    assert config.text({"x": "a" * 2 * MOST_CHARS, "y": "b"}) == "a" * (MOST_CHARS // 2) + "\nb"


def test_a_choice_is_the_one_that_is_written_so_or_else_the_one_of_the_same_unicode_form() -> None:
    nfc, nfd, other = "caf\xe9", "cafe\u0301", "\u212b"
    one = LabelConfig("c", "t", (nfc, "B"), (), False, (), ())
    assert [one.place(name) for name in (nfc, nfd, "B", " B", "b", "&#66;")] == [0, 0, 1, None, None, None]
    both = LabelConfig("c", "t", (nfd, nfc, "\xc5", "A\u030a"), (), False, (), ())
    assert [both.place(name) for name in (nfc, nfd, other)] == [1, 0, None]


@given(st.lists(st.text(max_size=4), min_size=1, unique=True), st.text(max_size=4))
def test_every_choice_is_its_own_place_and_no_other_form_is_two(choices: list[str], other: str) -> None:
    config = LabelConfig("c", "t", tuple(choices), (), False, (), ())
    assert [config.place(choice) for choice in choices] == list(range(len(choices)))
    alike = [place for place, choice in enumerate(choices) if normalize("NFC", choice) == normalize("NFC", other)]
    assert other in choices or config.place(other) == (alike[0] if len(alike) == 1 else None)


def test_a_name_of_any_length_is_compared_at_once() -> None:
    began = time.thread_time()
    assert parse(SINGLE).place("a" + "\u0301\u0316" * 500_000) is None
    assert time.thread_time() - began < 1


@pytest.mark.parametrize(
    "xml",
    [
        "<View>" * 150_000,
        "<View>" * 200_000,
        f'<!DOCTYPE x [<!ENTITY {"b" * 500_000} "x">]><View/>',
        SINGLE.replace('toName="text"', f'toName="{"x" * 500_000}"'),
        SINGLE.replace("$text", "\ud800"),
        SINGLE.replace('"A"', '"&#xD800;"'),
        SINGLE.replace('"A"', '"\0"'),
        SINGLE.replace("<View>", "<View>" + "<Rating/>" * 100_000).replace("<Choice ", "<Choise "),
        "<?xml version='1.0' encoding='nonsense'?><View/>",
    ],
)
def test_a_config_of_any_size_is_refused_in_a_short_sentence(xml: str) -> None:
    began = time.thread_time()
    with pytest.raises(PrepalError) as error:
        parse(xml)
    assert len(str(error.value)) < 500
    assert time.thread_time() - began < 1


@given(st.text())
def test_any_label_config_is_read_or_refused(xml: str) -> None:
    with pytest.raises(PrepalError):
        parse(xml)
