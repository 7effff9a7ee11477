"""Names and texts as they come."""

import pytest

from prepal_workers.labelled.wording import words_of


@pytest.mark.parametrize(
    "text",
    [
        "i was charged TWICE",
        "  I was  charged\u00a0twice\n",
        "<p>I was <b>charged</b> twice</p>",
        "I was charged twice!",
        "I was char\u00adged twice\u200b",
        "\uff29 was charged twice",
    ],
)
def test_texts_that_say_the_same_have_the_same_words(text: str) -> None:
    assert words_of(text) == words_of("I was charged twice.")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("up", "down"),
        ("good \N{THUMBS UP SIGN}", "good \N{THUMBS DOWN SIGN}"),
        ("?", "!"),
        ("<br>", "<hr>"),
        ("C", "C++"),
        ("\ud800", "."),
        # Vowels of many scripts are marks.
        ("\u0915\u0940", "\u0915\u093e"),
    ],
)
def test_texts_that_say_something_else_have_others(one: str, other: str) -> None:
    assert words_of(one) != words_of(other)
