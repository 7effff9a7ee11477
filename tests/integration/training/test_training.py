"""Training with real weights cut to one layer: from the logistic regression on, by each method."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers.finetuned import LEARNT, TESTED, TICKETS, TOPICS, labels_of
from transformers import AutoConfig, AutoModel, AutoTokenizer, pipeline

from prepal.learning.classifiers.logistic import LogisticRegression
from prepal_workers.encoder.encoder import Encoder
from prepal_workers.encoder.weights import DEFAULT_ENCODER, source
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.training.epochs import Epoch
from prepal_workers.training.recipe import Wishes
from prepal_workers.training.training import train


def test_training_starts_as_the_logistic_regression_on_the_encoders_vectors(encoder: Path) -> None:
    texts, labels = [ticket.text for ticket in LEARNT], labels_of(LEARNT)
    vectors = Encoder(str(encoder), device="cpu")
    classifier = LogisticRegression(len(TOPICS)).fit(vectors.encode(texts).astype(np.float32), labels)
    theirs = classifier.predict_proba(vectors.encode([ticket.text for ticket in TESTED]).astype(np.float32))
    start = train(str(encoder), texts, labels, len(TOPICS), wishes=Wishes(epochs=0))
    ours = start.predict_proba([ticket.text for ticket in TESTED])
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() > 0.98
    np.testing.assert_allclose(ours, theirs, atol=0.05)


def test_fine_tuning_is_better_than_the_logistic_regression(encoder: Path) -> None:
    texts, labels = [ticket.text for ticket in LEARNT[:60]], labels_of(LEARNT[:60])
    held_back, truth = [ticket.text for ticket in TESTED], labels_of(TESTED)
    start = train(str(encoder), texts, labels, len(TOPICS), wishes=Wishes(epochs=0)).predict_proba(held_back)
    tuned = train(str(encoder), texts, labels, len(TOPICS), seed=1, wishes=Wishes(epochs=4)).predict_proba(held_back)
    assert (tuned.argmax(axis=1) == truth).mean() > (start.argmax(axis=1) == truth).mean()


def test_what_is_said_of_the_texts_that_judge_stands_in_their_order(encoder: Path) -> None:
    """Also where texts are learnt from grouped by length."""
    learnt, held_back = TICKETS[:140], TESTED[:50]
    texts = [ticket.text for ticket in held_back]
    found = train(
        str(encoder),
        [ticket.text for ticket in learnt],
        labels_of(learnt),
        len(TOPICS),
        validation=(texts, labels_of(held_back)),
        wishes=Wishes(epochs=2),
    )
    np.testing.assert_allclose(found.logits[found.best_epoch], found.model.logits(texts), atol=0.05)


def test_classes_without_labels_stay_possible_and_unlikely(encoder: Path) -> None:
    labels = np.minimum(labels_of(LEARNT[:40]), 1)
    found = train(str(encoder), [t.text for t in LEARNT[:40]], labels, 4, wishes=Wishes(epochs=1))
    assert found.predict_proba(["Where is my parcel?"]).shape == (1, 4)
    assert found.predict_proba(["Where is my parcel?"])[0, 2:].sum() < 0.1


def test_several_labels_and_pairs(encoder: Path) -> None:
    marks = labels_of(LEARNT[:60])[:, None] == np.arange(len(TOPICS))
    marks[::2, 0] = True
    pairs = [(ticket.text, "Please help.") for ticket in LEARNT[:60]]
    found = train(str(encoder), pairs, marks, len(TOPICS), wishes=Wishes(epochs=2))
    probabilities = found.predict_proba(pairs)
    assert probabilities.shape == marks.shape
    assert ((probabilities > 0.5) == marks).mean() > 0.7
    assert found.predict_proba([("a", "b")]) != pytest.approx(found.predict_proba([("b", "a")]))


def test_contrast_is_better_than_the_logistic_regression_on_few_labels(encoder: Path) -> None:
    texts, labels = [ticket.text for ticket in LEARNT[:24]], labels_of(LEARNT[:24])
    held_back, truth = [ticket.text for ticket in TESTED], labels_of(TESTED)
    start = train(str(encoder), texts, labels, len(TOPICS), wishes=Wishes(method="logistic")).predict_proba(held_back)
    found = train(str(encoder), texts, labels, len(TOPICS), wishes=Wishes(method="contrast"))
    assert len(found.epochs) == found.recipe.epochs == 40
    assert (found.predict_proba(held_back).argmax(axis=1) == truth).mean() > (start.argmax(axis=1) == truth).mean()


def test_names_of_labels_are_worth_texts(encoder: Path) -> None:
    texts, labels = [ticket.text for ticket in LEARNT[:8]], labels_of(LEARNT[:8])
    logistic = Wishes(method="logistic")
    held_back, truth = [ticket.text for ticket in TESTED], labels_of(TESTED)
    without = train(str(encoder), texts, labels, len(TOPICS), wishes=logistic).predict_proba(held_back)
    named = train(str(encoder), texts, labels, len(TOPICS), label_names=TOPICS, wishes=logistic)
    assert (named.predict_proba(held_back).argmax(axis=1) == truth).mean() > (without.argmax(axis=1) == truth).mean()


def test_lora_gives_an_ordinary_model(encoder: Path, tmp_path: Path) -> None:
    texts, labels = [ticket.text for ticket in LEARNT], labels_of(LEARNT)
    start = SequenceModel(str(encoder), len(TOPICS)).model.state_dict()
    found = train(str(encoder), texts, labels, len(TOPICS), wishes=Wishes(epochs=2, lora=True))
    assert found.recipe.learning_rate > 1e-4
    learnt = found.model.model.state_dict()
    assert learnt.keys() == start.keys()
    moved = "bert.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(learnt[moved], start[moved])
    assert torch.equal(
        learnt["bert.embeddings.word_embeddings.weight"], start["bert.embeddings.word_embeddings.weight"]
    )
    found.model.save(tmp_path, TOPICS)
    again = SequenceModel(str(tmp_path)).predict_proba(texts)
    np.testing.assert_allclose(again, found.predict_proba(texts), atol=1e-5)
    assert (again.argmax(axis=1) == labels).mean() > 0.7


@pytest.mark.parametrize(
    "kind", ["bert", "roberta", "distilbert", "electra", "albert", "deberta-v2", "modernbert", "xlm-roberta"]
)
def test_any_architecture_is_trained_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    other_names = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64} if kind == "distilbert" else {}
    tokenizer = AutoTokenizer.from_pretrained(source(DEFAULT_ENCODER))
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **(other_names or sizes)
    )
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    texts, labels = [ticket.text for ticket in LEARNT[:40]], labels_of(LEARNT[:40])
    base = str(tmp_path / "base")
    start = train(base, texts, labels, len(TOPICS), wishes=Wishes(method="logistic"))
    found = train(base, texts, labels, len(TOPICS), wishes=Wishes(epochs=2, learning_rate=1e-3))
    assert found.predict_proba(texts) != pytest.approx(start.predict_proba(texts), abs=1e-3)
    found.model.save(tmp_path / "model", TOPICS)
    said = pipeline("text-classification", str(tmp_path / "model"), device="cpu")(texts)
    best = found.predict_proba(texts)
    assert [one["label"] for one in said] == [TOPICS[row.argmax()] for row in best]
    np.testing.assert_allclose([one["score"] for one in said], best.max(axis=1), atol=1e-3)


class _StopsAfter:
    """Presses Ctrl-C during the epoch after so many."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def read(self, done: int, total: int) -> None:
        assert done <= total

    def step(self, done: int, total: int) -> None:  # noqa: ARG002
        if not self.left:
            raise KeyboardInterrupt

    def epoch(self, epoch: Epoch) -> None:  # noqa: ARG002
        self.left -= 1


def test_ctrl_c_keeps_the_best_so_far(encoder: Path) -> None:
    texts, labels = [ticket.text for ticket in LEARNT], labels_of(LEARNT)
    validation = (texts[60:], labels[60:])
    found = train(str(encoder), texts[:60], labels[:60], len(TOPICS), validation=validation, watch=_StopsAfter(2))
    assert found.interrupted
    assert len(found.epochs) == 2
    judged = (found.predict_proba(validation[0]).argmax(axis=1) == validation[1]).mean()
    assert found.best_epoch
    assert judged == pytest.approx(found.epochs[found.best_epoch - 1].accuracy, abs=0.03)
