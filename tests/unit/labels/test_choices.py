"""Which choices a config has, what stands for each of them in Label Studio, and what an annotation of it means."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepal.errors import PrepalError
from prepal.labels.events import read_annotation
from prepal.labels.label_config import LabelConfig, parse
from prepal.labels.settle import vote

TREE = """<Choice value="Refund" hint="money back"><Choice value="Late"/><Choice value="Other"/></Choice>
<Choice value="Question" alias="ask"><Choice value="Other"/></Choice><Choice value="Spam"/>"""
LEAVES = ("Refund > Late", "Refund > Other", "ask > Other", "Spam")


def config_of(choices: str, attributes: str = "", tag: str = "Choices") -> LabelConfig:
    return parse(
        f'<View><Text name="t" value="$x"/><{tag} name="topic" toName="t" {attributes}>{choices}</{tag}></View>'
    )


def quoted(name: str) -> str:
    escapes = {"&": "&amp;", "<": "&lt;", '"': "&quot;"} | {c: f"&#{ord(c)};" for c in "\n\t\r"}
    return "".join(escapes.get(c, c) for c in name)


def said(config: LabelConfig, *chosen: object) -> list[str] | None:
    """What an annotation means that chose so."""
    raw = {"result": [{"from_name": "topic", "value": {config.kind: list(chosen)}}]}
    row = vote(read_annotation(raw, 1), config)
    return None if row is None else config.names(row)


def test_a_path_is_the_choice_where_choices_are_nested() -> None:
    config = config_of(TREE, 'allowNested="true"')
    assert config.choices == LEAVES
    assert config.words[:3] == ("Refund money back Late", "Refund money back Other", "Question ask Other")
    assert said(config, ["Refund", "Other"]) == ["Refund > Other"]
    assert said(config, ["ask", "Other"]) == ["ask > Other"]
    assert said(config, ["Spam"]) == ["Spam"]


def test_a_name_that_two_paths_end_with_is_no_choice_and_neither_is_what_stands_above() -> None:
    config = config_of(TREE, 'allowNested="true"')
    assert said(config, "Other") is None
    assert said(config, ["Other"]) is None
    assert said(config, ["Refund"]) is None
    assert said(config, ["Refund"], ["Refund", "Late"], ["Refund", "Other"]) is None
    several = config_of(TREE, 'allowNested="true" choice="multiple"')
    assert said(several, ["Refund"], ["Refund", "Late"], ["Refund", "Other"]) == ["Refund > Late", "Refund > Other"]


def test_a_predicted_path_is_as_the_interface_writes_it_and_as_the_server_takes_it() -> None:
    value = config_of(TREE, 'allowNested="true"').result([1], 0.5)[0]["value"]
    assert value == {"choices": [["Refund", "Other"]], "topic": {"choices": ["Other"]}}


def test_what_is_below_a_choice_is_none_where_they_are_not_nested() -> None:
    assert config_of(TREE).choices == ("Refund", "ask", "Spam")


def test_each_path_of_a_taxonomy_is_a_choice_or_each_leaf() -> None:
    config = config_of(TREE, tag="Taxonomy")
    assert config.choices == ("Refund", *LEAVES[:2], "ask", *LEAVES[2:])
    assert config.multiple
    assert said(config, ["Refund"], ["Refund", "Late"]) == ["Refund", "Refund > Late"]
    (result,) = config.result([0, 1], 0.5)
    assert result["type"] == "taxonomy"
    assert result["value"] == {"taxonomy": [["Refund"], ["Refund", "Late"]]}
    assert config_of(TREE, 'leafsOnly="true"', "Taxonomy").choices == LEAVES


def test_a_taxonomy_of_which_one_may_be_used_has_one_label_a_text() -> None:
    config = config_of(TREE, 'maxUsages="1"', "Taxonomy")
    assert not config.multiple
    assert said(config, ["ask", "Other"]) == ["ask > Other"]


names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('>\\/,"&<\n\t'), min_size=1, max_size=5
)
trees = st.recursive(st.just({}), lambda inner: st.dictionaries(names, inner, max_size=3), max_leaves=12)


def xml_of(tree: dict[str, dict]) -> str:  # type: ignore[type-arg]
    return "".join(f'<Choice value="{quoted(name)}">{xml_of(below)}</Choice>' for name, below in tree.items())


def leaves(tree: dict[str, dict], path: tuple[str, ...] = ()) -> list[list[str]]:  # type: ignore[type-arg]
    if not tree:
        return [list(path)]
    return [leaf for name, below in tree.items() for leaf in leaves(below, (*path, name))]


@given(st.dictionaries(names.filter(lambda name: "$" not in name), trees, min_size=2, max_size=4), st.booleans())
def test_whatever_is_predicted_is_read_as_the_same_choice(tree: dict[str, dict], is_nested: bool) -> None:  # type: ignore[type-arg]
    xml = xml_of(tree)
    if "$" in xml:
        return
    attributes = 'allowNested="true"' if is_nested else 'leafsOnly="true" maxUsages="1"'
    paths = leaves(tree)
    if len(paths) < 2:
        return
    config = config_of(xml, attributes, "Choices" if is_nested else "Taxonomy")
    assert [list(path) for path in config.paths] == paths
    for place, path in enumerate(paths):
        value = config.result([place], 0.9)[0]["value"]
        assert value[config.kind] == [path]
        row = vote(read_annotation({"result": [{"from_name": "topic", "value": value}]}, 1), config)
        assert row is not None
        assert np.flatnonzero(row).tolist() == [place]


@given(st.lists(names.filter(lambda name: "$" not in name), min_size=2, max_size=6, unique=True))
def test_a_choice_of_any_name_is_itself(flat: list[str]) -> None:
    config = config_of("".join(f'<Choice value="{quoted(name)}"/>' for name in flat))
    assert config.choices == tuple(flat)
    for place, name in enumerate(flat):
        assert said(config, *config.result([place], 0.9)[0]["value"]["choices"]) == [name]


def test_names_that_differ_by_case_or_unicode_form_are_two_choices() -> None:
    flat = ["Other", "other", "caf\xe9", "cafe\u0301"]
    config = config_of("".join(f'<Choice value="{name}"/>' for name in flat))
    assert [said(config, name) for name in flat] == [[name] for name in flat]


def test_thousands_of_choices_are_read_at_once() -> None:
    groups = "".join(
        f'<Choice value="g{g}">{"".join(f"""<Choice value="c{c}"/>""" for c in range(60))}</Choice>' for g in range(50)
    )
    began = time.thread_time()
    config = config_of(groups, 'allowNested="true"')
    assert len(config.choices) == 3000
    assert said(config, ["g49", "c59"]) == ["g49 > c59"]
    assert time.thread_time() - began < 1


def test_what_a_choice_shows_as_html_is_among_its_words() -> None:
    assert config_of('<Choice value="1" html="&lt;b&gt;Late&lt;/b&gt;"/><Choice value="2"/>').words == ("1 Late", "2")


@pytest.mark.parametrize(
    ("choices", "attributes", "tag", "words"),
    [
        (TREE, 'value="$options"', "Choices", "its choices come from the task's data"),
        ("", 'value="$options"', "Taxonomy", "its choices come from the task's data"),
        ("", 'apiUrl="https://example.com/tree.json"', "Taxonomy", "its choices come from an apiUrl"),
        (TREE, 'labeling="true"', "Taxonomy", "it is per region or per item"),
        (TREE, 'perItem="true"', "Choices", "it is per region or per item"),
        ('<Choice value="$a"/><Choice value="B"/>', "", "Choices", "its choice '$a' is called by the task's data"),
        (
            '<Choice value="to $5"/><Choice value="B"/>',
            "",
            "Choices",
            "its choice 'to $5' is called by the task's data",
        ),
        ('<Choice value="A"/><Choice>B</Choice>', "", "Choices", "one of its choices has no value"),
        ("<Choice value='a'>" * 60 + "</Choice>" * 60, "", "Taxonomy", "stand in more than 50 others"),
    ],
)
def test_choices_that_cannot_be_known_are_refused(choices: str, attributes: str, tag: str, words: str) -> None:
    with pytest.raises(PrepalError) as error:
        config_of(choices, attributes, tag)
    assert words in str(error.value)


def test_nested_choices_have_a_name_beside_which_a_prediction_can_be_written() -> None:
    nested = f'<Choices name="choices" toName="t" allowNested="true">{TREE}</Choices>'
    with pytest.raises(PrepalError, match="with allowNested it needs another name than 'choices'"):
        parse(f'<View><Text name="t" value="$x"/>{nested}</View>')
    assert parse(f'<View><Text name="t" value="$x"/>{nested.replace("allowNested", "x")}</View>').from_name == "choices"


def test_a_choice_with_a_variable_in_it_is_the_alias_that_it_has() -> None:
    assert config_of('<Choice value="$a" alias="first"/><Choice value="B"/>').choices == ("first", "B")


@pytest.mark.parametrize("attributes", ['visibleWhen="choice-selected" whenTagName="x"', 'whenChoiceValue="x"'])
@pytest.mark.parametrize("within", [True, False])
def test_who_was_not_asked_says_nothing(attributes: str, within: bool) -> None:
    view, own = (attributes, "") if within else ("", attributes)
    config = parse(
        f'<View><Text name="t" value="$x"/><View {view}><Choices name="topic" toName="t" choice="multiple" {own}>'
        '<Choice value="A"/><Choice value="B"/></Choices></View></View>'
    )
    assert vote(read_annotation({"result": []}, 1), config) is None
    assert said(config, "A") == ["A"]


@given(
    names=st.lists(st.sampled_from("abc"), min_size=2, max_size=4),
    values=st.permutations("pqrs"),
    nested=st.booleans(),
)
def test_two_choices_that_annotators_tell_apart_never_become_one(
    names: list[str], values: list[str], nested: bool
) -> None:
    inner = "".join(f'<Choice value="{v}" alias="{n}"/>' for n, v in zip(names, values, strict=False))
    choices = f'<Choice value="top">{inner}</Choice>' if nested else inner
    attributes = 'allowNested="true"' if nested else ""
    if len(set(names)) == len(names):
        assert len(config_of(choices, attributes).choices) == len(names)
        return
    with pytest.raises(PrepalError, match=r"^The label config's Choices 'topic' .* two of its choices are called "):
        config_of(choices, attributes)


@pytest.mark.parametrize("choice", ['<Choice value=""/>', '<Choice alias=""/>', "<Choice/>"])
def test_a_choice_without_a_value_is_told(choice: str) -> None:
    with pytest.raises(PrepalError, match="one of its choices has no value"):
        config_of(f'{choice}<Choice value="A"/><Choice value="B"/>')
