"""What is held back to judge by, and what is learnt from meanwhile."""

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from prepal.errors import PrepalError
from prepal_workers.final_model.judging import split
from prepal_workers.labelled.read import read_labelled


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3), st.booleans()), min_size=2, max_size=140),
    st.booleans(),
    st.integers(0, 9),
)
@settings(deadline=None, max_examples=150)
def test_what_is_learnt_from_and_what_judges_have_no_text_in_common(
    tasks: list[tuple[int, int, bool]], multilabel: bool, seed: int
) -> None:
    rows = [
        {"text": f"text {text}", "label": [str(label)] if multilabel else str(label), "audit": audit}
        for text, label, audit in tasks
    ]
    try:
        data = read_labelled(json.dumps(rows).encode(), "rows.json")
        held_back, learnt, how = split(data, seed)
    except PrepalError:
        return
    texts = np.array(data.texts)
    assert held_back.any()
    assert not set(texts[held_back]) & set(texts[learnt])
    assert data.marks[learnt].any(axis=0).all()
    if how == "the audit tasks":
        assert data.is_audit[held_back].all()
    else:
        assert (held_back | learnt).all()
