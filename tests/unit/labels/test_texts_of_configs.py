"""Which texts of a config are read, and that nothing else is read in their place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal.errors import PrepalError
from prepal.labels.label_config import LabelConfig, parse
from prepal.labels.text_fields import UnembeddableError, misfits

YES_NO = '<Choice value="yes"/><Choice value="no"/>'


def config_of(tags: str, to: str = "t") -> LabelConfig:
    return parse(f'<View>{tags}<Choices name="c" toName="{to}">{YES_NO}</Choices></View>')


def asked(name: str, to: str, **more: str) -> str:
    attributes = "".join(f' {key}="{value}"' for key, value in more.items())
    return f'<Choices name="{name}" toName="{to}"{attributes}>{YES_NO}</Choices>'


def reason_of(config: LabelConfig, data: object) -> str:
    with pytest.raises(UnembeddableError) as error:
        config.text(data)
    return str(error.value)


DATA = {"a": "first", "b": "second", "c": "third", "who": "Ann", "what": "a drill"}


def test_a_text_that_another_question_is_about_is_not_read() -> None:
    items = "".join(f'<Text name="{name}" value="${name}"/>{asked(f"is_{name}", name)}' for name in "abc")
    config = parse(f"<View>{items}</View>")
    assert [(one.from_name, one.to_name, one.text(DATA)) for one in config.questions] == [
        ("is_a", "a", "first"), ("is_b", "b", "second"), ("is_c", "c", "third"),
    ]  # fmt: skip
    assert config.notes == tuple(f"'is_{name}' is learnt from ${name} alone." for name in "abc")


def test_texts_that_no_other_question_is_about_are_context() -> None:
    texts = '<Text name="a" value="$a"/><Text name="b" value="$b"/>'
    assert parse(f"<View>{texts}{asked('one', 'a')}</View>").text(DATA) == "first\nsecond"
    assert parse(f"<View>{texts}{asked('one', 'a,b')}{asked('two', 'b')}</View>").text(DATA) == "first\nsecond"
    assert parse(f"<View>{texts}{asked('one', 'a')}{asked('two', 'a')}</View>").text(DATA) == "first\nsecond"
    labels = '<Labels name="spans" toName="b"><Label value="x"/></Labels>'
    assert parse(f"<View>{texts}{asked('one', 'a')}{labels}</View>").text(DATA) == "first\nsecond"
    regions = asked("two", "b", perRegion="true")
    assert parse(f"<View>{texts}{asked('one', 'a')}{regions}</View>").text(DATA) == "first\nsecond"


@given(st.permutations("abc"), st.lists(st.sampled_from("abc"), min_size=1, max_size=4))
def test_no_question_ever_reads_what_is_another_questions_alone(order: list[str], targets: list[str]) -> None:
    texts = "".join(f'<Header value="about ${name}"/><Text name="{name}" value="${name}"/>' for name in order)
    questions = "".join(asked(f"q{place}", name) for place, name in enumerate(targets))
    config = parse(f"<View>{texts}{questions}</View>")
    assert [question.from_name for question in config.questions] == [f"q{place}" for place, _ in enumerate(targets)]
    for question, target in zip(config.questions, targets, strict=True):
        text = question.text(DATA)
        for name in "abc":
            assert (DATA[name] in text) == (name == target or name not in targets)


def test_a_question_that_cannot_be_learnt_leaves_its_place_to_the_next() -> None:
    picture = '<Image name="i" value="$i"/>'
    config = parse(f'<View>{picture}{asked("one", "i")}<Text name="a" value="$a"/>{asked("two", "a")}</View>')
    assert (config.from_name, config.text(DATA)) == ("two", "first")


@pytest.mark.parametrize(
    "heading", ['<Header value="By $who about $what"/>', "<Markdown>By $who about $what</Markdown>"]
)
def test_what_a_heading_says_of_a_task_comes_before_the_texts(heading: str) -> None:
    config = parse(f'<View><Text name="t" value="$a"/>{heading}{asked("c", "t")}</View>')
    assert config.text(DATA) == "Ann a drill\nfirst"
    assert config.text({"a": "first", "who": "Ann"}) == "first"


def test_a_heading_that_is_the_same_everywhere_changes_nothing() -> None:
    plain = config_of('<Text name="t" value="$a"/>')
    assert config_of('<Header value="Read this"/><Text name="t" value="$a"/>').fields == plain.fields


def test_a_heading_that_says_what_a_text_says_is_not_read_twice() -> None:
    assert config_of('<Header value="On: $a"/><Text name="t" value="$a"/>').text(DATA) == "first"
    assert config_of('<Header value="$a by $who"/><Text name="t" value="$a"/>').text(DATA) == "first Ann\nfirst"


def test_a_heading_alone_is_no_text() -> None:
    config = config_of('<Header value="$who"/><Text name="t" value="$a"/>')
    assert reason_of(config, {"who": "Ann", "a": " "}) == "empty text"
    assert reason_of(config, {"who": "Ann"}) == "the config reads $a, the task has 'who': rename one of them"
    with pytest.raises(PrepalError, match="is not a text"):
        config_of('<Header name="t" value="$who"/><Text name="u" value="$a"/>')


def test_a_heading_of_another_question_is_not_read() -> None:
    config = parse(
        f'<View><Header value="$who"/><Text name="a" value="$a"/>{asked("one", "a")}'
        f'<Text name="b" value="$b"/><Header value="$what"/>{asked("two", "b")}</View>'
    )
    assert config.text(DATA) == "Ann\nfirst"


def test_a_chat_is_read_with_its_roles() -> None:
    config = config_of('<Chat name="t" value="$chat"/>')
    turns = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "On its way."}]
    assert config.text({"chat": turns}) == "user: Where is it?\nassistant: On its way."
    assert config.to_name == "t"


@pytest.mark.parametrize(
    ("variable", "data"),
    [
        ("$1", {"1": "here"}),
        ("$2nd_text", {"2nd_text": "here"}),
        ("$a.b", {"a": {"b": "here"}}),
        ("$a.b", {"a.b": "here", "a": {"b": "not this"}}),
        ("$turns[0].text", {"turns": [{"text": "here"}, {"text": "not this"}]}),
        ("$turns.1.text", {"turns": [{"text": "not this"}, {"text": "here"}]}),
        ("$rows[0][1]", {"rows": [["not this", "here"]]}),
    ],
)
def test_variables_are_read_as_the_interface_reads_them(variable: str, data: object) -> None:
    assert config_of(f'<Text name="t" value="{variable}"/>').text(data) == "here"


@pytest.mark.parametrize(
    "variable",
    ["$turns[2].text", "$turns[-1].text", "$turns[0].said", "$turns.", "$turns..text", "$turns[99999999999]"],
)
def test_what_is_not_there_is_not_read(variable: str) -> None:
    config = config_of(f'<Text name="t" value="{variable}"/>')
    why = reason_of(config, {"turns": [{"text": "one"}, {"text": "two"}]})
    assert why == f"the config reads {variable.partition('-')[0]}, the task has 'turns': rename one of them"


TOLD = ("and Label Studio reads no column until it is renamed", "the config reads $", "there is no text field")
columns = st.text(
    st.sampled_from("ab1_ -./$本Ж") | st.characters(categories=["L", "N", "P"], max_codepoint=0x3000),
    min_size=1,
    max_size=8,
)


@given(columns.filter(lambda name: not set(name) & set('"&<')))
def test_a_column_of_any_name_is_read_or_told(column: str) -> None:
    data = {column: "the text", "id": "other"}
    try:
        told = config_of(f'<Text name="t" value="${column}"/>').text(data)
    except (PrepalError, UnembeddableError) as reason:
        told = str(reason)
    assert told in ("the text", "other") or any(words in told for words in TOLD)


@pytest.mark.parametrize(
    ("variable", "column", "reads"),
    [
        ("$Review Text", "Review Text", "$Review"),
        ("$review-text", "review-text", "$review"),
        ("$na\xefve", "na\xefve", "$na"),
    ],
)
def test_a_column_that_the_interface_cannot_read_is_named(variable: str, column: str, reads: str) -> None:
    config = config_of(f'<Text name="t" value="{variable}"/>')
    why = f"the config reads {reads}, the task has '{column}', 'id': rename one of them"
    tasks = [{column: f"text {n}", "id": n} for n in range(3)]
    assert reason_of(config, tasks[0]) == why
    assert misfits(config.fields, tasks) == [
        f"3 of the first 3 tasks have no text to read, most of them because {why}."
    ]


def test_a_field_that_no_task_has_is_told_where_another_one_is_read() -> None:
    config = config_of('<Text name="t" value="$Review"/><Text name="u" value="$a"/>')
    assert misfits(config.fields, [{"a": "one", "review": "two"}] * 2) == [
        "This is so in all of the first 2 tasks: the config reads $Review, the task has 'review', 'a': rename one "
        "of them."
    ]
    assert misfits(config.fields, [{"a": "one", "Review": "two"}, {"a": "one"}]) == []
    assert misfits(config.fields, []) == []


def test_of_many_fields_a_message_names_those_that_are_called_nearly_so() -> None:
    config = config_of('<Text name="t" value="$text"/>')
    data = {f"column {n}": n for n in range(100_000)} | {"x" * 5000: 1}
    assert len(reason_of(config, data)) < 500
    many = {**{f"column {n}": n for n in range(9)}, "The Text": "here"}
    assert reason_of(config, many) == (
        "the config reads $text, the task has 'The Text', 'column 0', 'column 1' and 7 more: rename one of them"
    )


ADDRESSES = [
    "s3://letters/2026/0.txt",
    "gs://bucket/a b.txt".replace(" ", "%20"),
    "azure-blob://container/key",
    "https://example.com/a?b=c#d",
    "HTTP://example.com",
    "/tasks/12/presign/?fileuri=czM6Ly9iL2s=",
    "/tasks/12/resolve/?fileuri=czM6Ly9iL2s=",
    "/data/upload/3/a.txt",
    "/data/local-files/?d=a/b.txt",
]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("tag", ["Text", "HyperText", "Paragraphs", "Chat"])
def test_an_address_is_no_text(address: str, tag: str) -> None:
    config = config_of(f'<Header value="$who"/><{tag} name="t" value="$x"/>')
    assert reason_of(config, {"x": f" {address}\n", "who": "Ann"}) == "the text is an address"
    assert config.text({"x": f"see {address}", "who": "Ann"}) == f"Ann\nsee {address}"


@pytest.mark.parametrize(
    "text", ["s3: it failed", "/tasks/12 is broken", "either/or", "http", "://", "a://b c", "note://"]
)
def test_what_only_looks_like_an_address_is_a_text(text: str) -> None:
    config = config_of('<Text name="t" value="$x"/>')
    if text == "note://":
        assert reason_of(config, {"x": text}) == "the text is an address"
    else:
        assert config.text({"x": text}) == text


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ('value="$x" valueType="url"', "has the valueType 'url'"),
        ('value="$x" valuetype="url"', "has the valueType 'url'"),
        ('value="$x" resolver="csv|column=text"', "has the resolver 'csv|column=text'"),
        ('value="$x">$y</Text><Text name="v"', "has content of its own"),
        ('value="$x" encoding="base64"', "has the encoding 'base64'"),
        ('value="$文本"', "reads '$文本', and Label Studio reads no column until it is renamed"),
    ],
)
def test_a_text_that_is_not_in_the_task_is_refused_or_told(attributes: str, words: str) -> None:
    with pytest.raises(
        PrepalError, match=r"^The label config's Choices 'c' cannot be learnt, as its Text 't' .*\.$"
    ) as error:
        config_of(f'<Text name="t" {attributes}/><Text name="u" value="$a"/>')
    assert words in str(error.value)
    beside = config_of(f'<Text name="u" {attributes}/><Text name="t" value="$a"/>')
    assert beside.text(DATA) == "first"
    (told,) = beside.notes
    assert told.startswith("The label config's Text 'u' is not read, as it ")
    assert words in told


@pytest.mark.parametrize(
    "xml",
    [
        '<Repeater on="$items"><Text name="t{{idx}}" value="$items[{{idx}}].x"/>'
        f'<Choices name="c{{{{idx}}}}" toName="t{{{{idx}}}}">{YES_NO}</Choices></Repeater>',
        f'<Repeater on="$items"><View><Text name="t{{{{idx}}}}" value="$x"/></View></Repeater>'
        f'<Text name="u" value="$a"/><Choices name="c" toName="u">{YES_NO}</Choices>',
    ],
)
def test_a_repeater_is_refused_by_its_name(xml: str) -> None:
    with pytest.raises(PrepalError, match="a Repeater shows several items of a task, each to be imported as a task of"):
        parse(f"<View>{xml}</View>")


def test_what_was_read_rightly_before_is_the_same_text_with_the_same_labels() -> None:
    """Versions that release 0.1 gave: an upgrade neither embeds again nor learns anew."""
    config = parse(
        '<View><Header value="Read"/><Text name="t" value="$title"/>'
        '<HyperText name="h" value="$a.b" valueType="text"/>'
        '<Paragraphs name="p" value="$d" nameKey="who" textKey="said"/>'
        '<Choices name="topic" toName="t" choice="multiple"><Choice value="A"/><Choice value="B" alias="b"/></Choices>'
        '<Rating name="r" toName="t"/></View>'
    )
    assert (config.text_version, config.meaning) == ("a2a377af0c4cab71", "6d516ac9920c15e0")


@given(
    shown=st.lists(
        st.sampled_from(
            [
                ("Image 'i'", '<Image name="i" value="$a"/>'),
                ("Table 'rows'", '<Table name="rows" value="$b"/>'),
                ("List 'hits'", '<List name="hits" value="$c"/>'),
                ("Panel 'of $who'", '<Collapse><Panel value="of $who"><View/></Panel></Collapse>'),
                ("Header '$a[{{n}}]'", '<Repeater on="$a" indexFlag="{{n}}"><Header value="$a[{{n}}]"/></Repeater>'),
            ]
        ),
        unique=True,
    )
)
def test_whatever_else_annotators_see_of_a_task_is_told_to_be_unread(shown: list[tuple[str, str]]) -> None:
    config = config_of('<Text name="t" value="$what"/>' + "".join(tag for _, tag in shown))
    assert config.text(DATA) == "a drill"
    assert config.notes == tuple(f"The label config's {name} is not read." for name, _ in shown)


def test_what_shows_nothing_of_a_task_is_not_told_of() -> None:
    beside = '<Header value="Choose"/><Image name="i" value="https://example.org/a.png"/><Style>.a {}</Style>'
    assert config_of(f'{beside}<Text name="t" value="$what"/><Collapse><Panel value="More"/></Collapse>').notes == ()


@given(
    st.lists(st.tuples(st.sampled_from(["user", "assistant", None]), st.sampled_from(["Hi.", "", None])), min_size=1)
)
def test_a_turn_that_says_nothing_says_nothing(turns: list[tuple[str | None, str | None]]) -> None:
    for tag, who, what in (("Chat", "role", "content"), ("Paragraphs", "author", "text")):
        config = config_of(f'<{tag} name="t" value="$talk"/>')
        data = {"talk": [{who: author, what: words} for author, words in turns]}
        if any(author or words for author, words in turns):
            assert "None" not in config.text(data)
            assert config.text(data).count("Hi.") == sum(words == "Hi." for _, words in turns)


def test_a_turn_in_parts_is_what_its_parts_say() -> None:
    parts = [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": "x"}}, {"text": "a cat"}]
    data = {"talk": [{"role": "user", "content": parts}, {"role": "assistant", "content": "Yes."}]}
    assert config_of('<Chat name="t" value="$talk"/>').text(data) == "user: Look: a cat\nassistant: Yes."
