"""What the annotators of a task agree on."""

from hypothesis import given
from hypothesis import strategies as st

from prepal.labels.events import Annotation
from prepal.labels.label_config import LabelConfig, parse
from prepal.labels.settle import settle

XML = """<View><Text name="text" value="$text"/><Choices name="topic" toName="text" choice="{}">
<Choice value="A"/><Choice value="B"/><Choice value="C"/></Choices></View>"""
SINGLE, MULTIPLE = parse(XML.format("single")), parse(XML.format("multiple"))


def by(
    annotator: int, *chosen: str, at: int = 0, task: int = 7, skipped: bool = False, truth: bool = False
) -> Annotation:
    return Annotation(task, annotator, f"2026-01-01T00:00:{at:02}Z", skipped, truth, {"topic": list(chosen)})


def label(config: LabelConfig, *annotations: Annotation) -> set[str] | None:
    found = settle(dict(enumerate(annotations, start=1)), config).get(7)
    return None if found is None else {c for c, chosen in zip(config.choices, found, strict=True) if chosen}


def test_one_annotation_is_the_label() -> None:
    assert label(SINGLE, by(1, "B")) == {"B"}


def test_the_majority_wins() -> None:
    assert label(SINGLE, by(1, "A", at=1), by(2, "A", at=2), by(3, "B", at=3)) == {"A"}


def test_a_tie_goes_to_the_newest() -> None:
    assert label(SINGLE, by(1, "A", at=5), by(2, "B", at=1)) == {"A"}


def test_a_tie_goes_to_the_newest_of_those_that_tie() -> None:
    votes = [by(1, "A", at=1), by(2, "A", at=2), by(3, "B", at=3), by(4, "B", at=4), by(5, "C", at=9)]
    assert label(SINGLE, *votes) == {"B"}


def test_ground_truth_wins_over_everybody() -> None:
    assert label(SINGLE, by(1, "A", at=8), by(2, "A", at=9), by(3, "B", truth=True)) == {"B"}


def test_a_skipped_annotation_is_not_a_label() -> None:
    assert label(SINGLE, by(1, "A", skipped=True)) is None
    assert label(SINGLE, by(1, "A", skipped=True, at=9), by(2, "B")) == {"B"}


def test_a_choice_that_the_config_no_longer_has_is_not_a_label() -> None:
    assert label(SINGLE, by(1, "Gone")) is None
    assert label(MULTIPLE, by(1, "Gone")) is None


def test_nothing_chosen_is_a_label_only_where_several_may_be_chosen() -> None:
    nothing = Annotation(7, 1, "", False, False, {})
    assert label(SINGLE, nothing) is None
    assert label(MULTIPLE, nothing) == set()


def test_each_of_several_choices_is_voted_on_by_itself() -> None:
    assert label(MULTIPLE, by(1, "A", "B"), by(2, "B", "C"), by(3, "B")) == {"B"}


def test_a_tie_on_one_of_several_choices_goes_to_the_newest() -> None:
    assert label(MULTIPLE, by(1, "A", "B", at=1), by(2, "B", "C", at=2)) == {"B", "C"}


def test_a_choice_in_another_unicode_form_is_the_same_choice() -> None:
    config = parse(XML.format("single").replace('"B"', '"caf\xe9"'))
    assert label(config, by(1, "cafe\u0301")) == {"caf\xe9"}
    assert label(config, by(1, "cafe\u0301", at=1), by(2, "caf\xe9", at=2), by(3, "A", at=3)) == {"caf\xe9"}


def test_labels_come_in_the_order_of_the_first_annotation_that_counts() -> None:
    annotations = {
        9: by(1, "A", task=1, at=1),
        3: by(1, "Gone", task=1),
        2: by(1, "A", task=2, skipped=True),
        8: by(2, "B", task=2, at=2),
        5: by(1, "C", task=3, at=59),
    }
    for read in (annotations, dict(reversed(annotations.items()))):
        assert list(settle(read, SINGLE)) == [3, 2, 1]


def test_of_annotations_of_the_same_moment_the_later_id_is_the_newer() -> None:
    for read in ({1: by(1, "A"), 2: by(2, "B")}, {2: by(2, "B"), 1: by(1, "A")}):
        assert settle(read, SINGLE)[7].tolist() == [False, True, False]


votes = st.builds(
    lambda who, chosen, at, skipped, truth: by(who, *chosen, at=at, skipped=skipped, truth=truth),
    st.integers(1, 5),
    st.lists(st.sampled_from(["A", "B", "C", "Gone"]), max_size=3),
    st.integers(0, 59),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(votes), st.sampled_from([SINGLE, MULTIPLE]))
def test_the_order_in_which_annotations_are_read_does_not_matter(read: list[Annotation], config: LabelConfig) -> None:
    distinct = list({annotation.updated_at: annotation for annotation in read}.values())
    assert label(config, *distinct) == label(config, *reversed(distinct))


@given(st.lists(votes))
def test_a_single_label_is_one_that_somebody_chose(read: list[Annotation]) -> None:
    found = label(SINGLE, *read)
    if found is not None:
        assert len(found) == 1
        assert any(found <= set(a.choices["topic"]) and not a.skipped for a in read)
