"""A label config with several questions: each is learnt, and a prediction answers all that would be asked."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal.labels.events import read_annotation
from prepal.labels.label_config import LabelConfig, parse
from prepal.labels.settle import settle

TEXT = '<Text name="t" value="$t"/>'
TREE = (
    '<Choice value="Complaint"><Choice value="Other"/></Choice><Choice value="Praise"><Choice value="Other"/></Choice>'
)
KINDS = {
    "single": ('<Choices name="{}" toName="t"{}>', "Choices"),
    "multiple": ('<Choices name="{}" toName="t" choice="multiple"{}>', "Choices"),
    "taxonomy": ('<Taxonomy name="{}" toName="t"{}>', "Taxonomy"),
    "nested": ('<Choices name="{}" toName="t" allowNested="true"{}>', "Choices"),
}


def question(name: str, kind: str, more: str = "") -> str:
    begin, tag = KINDS[kind]
    inner = TREE if kind in ("taxonomy", "nested") else '<Choice value="yes"/><Choice value="no"/>'
    return f"{begin.format(name, more)}{inner}</{tag}>"


def config_of(*questions: str) -> LabelConfig:
    return parse(f"<View>{TEXT}{''.join(questions)}</View>")


kinds = st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=5)


@given(kinds)
def test_each_question_is_what_it_would_be_alone(asked: list[str]) -> None:
    config = config_of(*(question(f"q{place}", kind) for place, kind in enumerate(asked)))
    assert len(config.questions) == len(asked)
    assert not config.notes
    for place, (one, kind) in enumerate(zip(config.questions, asked, strict=True)):
        alone = config_of(question(f"q{place}", kind))
        assert (one.choices, one.words, one.multiple, one.paths, one.fields, one.kind, one.meaning) == (
            (alone.choices, alone.words, alone.multiple, alone.paths, alone.fields, alone.kind, alone.meaning)
        )
        assert (one.is_first, one.reads) == (place == 0, False)
    # Texts are read no other way because there are more questions.
    assert config.text_version == config_of(question("q", "single")).text_version


@given(kinds, st.data())
def test_what_is_predicted_for_all_is_learnt_as_the_same_by_each(asked: list[str], data: st.DataObject) -> None:
    config = config_of(*(question(f"q{place}", kind) for place, kind in enumerate(asked)))
    said = [([data.draw(st.integers(0, len(one.choices) - 1))], 0.5) for one in config.questions]
    annotation = read_annotation({"id": 1, "result": config.results(said), "updated_at": "2026-01-01T00:00:00Z"}, 7)
    for one, (chosen, _) in zip(config.questions, said, strict=True):
        (row,) = settle({1: annotation}, one).values()
        assert row.nonzero()[0].tolist() == chosen


def asked_of(config: LabelConfig, said: Sequence[int]) -> list[str]:
    return [item["from_name"] for item in config.results([([at], 0.5) for at in said])]


@pytest.mark.parametrize(
    "config",
    [
        config_of(
            question("a", "single"),
            question("b", "single", ' visibleWhen="choice-selected" whenTagName="a" whenChoiceValue="yes"'),
        ),
        config_of(
            question("a", "single"),
            f'<View visibleWhen="choice-selected" whenTagName="a" whenChoiceValue="yes, perhaps">'
            f"{question('b', 'single')}</View>",
        ),
    ],
)
def test_a_question_that_another_answer_opens_is_predicted_with_that_answer_alone(config: LabelConfig) -> None:
    assert asked_of(config, [0, 0]) == ["a", "b"]
    assert asked_of(config, [1, 0]) == ["a"]
    # Who was not asked says nothing.
    annotation = read_annotation({"id": 1, "result": config.results([([1], 1.0), ([0], 1.0)])}, 7)
    assert [len(settle({1: annotation}, one)) for one in config.questions] == [1, 0]


@pytest.mark.parametrize(
    "condition", ['whenTagName="z" whenChoiceValue="yes"', 'whenTagName="a" whenChoiceValue="what"']
)
def test_where_nobody_can_tell_when_a_question_is_asked_it_is_predicted(condition: str) -> None:
    config = config_of(question("a", "single"), question("b", "single", f' visibleWhen="choice-selected" {condition}'))
    assert asked_of(config, [1, 0]) == ["a", "b"]


def test_a_question_that_cannot_be_learnt_is_told_with_the_reason_and_the_others_are_learnt() -> None:
    config = config_of(
        question("a", "single"),
        '<Choices name="b" toName="t" perRegion="true"><Choice value="x"/><Choice value="y"/></Choices>',
        '<Choices name="c" toName="t"><Choice value="x"/></Choices><Rating name="r" toName="t"/>',
        question("d", "taxonomy"),
    )
    assert [one.from_name for one in config.questions] == ["a", "d"]
    assert config.notes == (
        "Only 'a' and 'd' are learnt; not 'b', 'c', 'Rating'.",
        "The label config's Choices 'b' is not learnt, as it is per region or per item, and not about the whole text.",
        "The label config's Choices 'c' is not learnt, as it has 1 choice, and two are needed.",
    )


def test_another_order_of_questions_about_texts_of_their_own_is_another_text() -> None:
    texts = '<Text name="a" value="$a"/><Text name="b" value="$b"/>'
    first, second = (
        f'<Choices name="q{at}" toName="{at}"><Choice value="x"/><Choice value="y"/></Choices>' for at in "ab"
    )
    one, other = parse(f"<View>{texts}{first}{second}</View>"), parse(f"<View>{texts}{second}{first}</View>")
    assert [question.text({"a": "1", "b": "2"}) for question in one.questions] == ["1", "2"]
    assert [question.reads for question in one.questions] == [False, True]
    assert one.text_version != other.text_version
