"""Loads a pretrained model with its tokenizer, and what its folder says of it."""

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file

from prepal.errors import PrepalError, cause
from prepal_workers.encoder.weights import source

# Texts longer than this cost too much for what their ends say.
_MOST_TOKENS = 512


def load_pretrained(name: str, **config: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """A tokenizer and a model with a head for classification, which is a new one where a config is given.

    Raises:
        PrepalError: the model cannot be loaded.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        # That the head is new is no news.
        with quiet("transformers"):
            tokenizer = AutoTokenizer.from_pretrained(source(name))
            model = AutoModelForSequenceClassification.from_pretrained(
                source(name), dtype=torch.float32, ignore_mismatched_sizes=bool(config), **config
            )
    except Exception as error:
        raise PrepalError(
            f"The model {name} cannot be loaded ({cause(error)}): give the folder of a downloaded model, or a name "
            "that the Hugging Face hub has."
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
        model.config.pad_token_id = tokenizer.pad_token_id
    return tokenizer, model


def is_classifier(name: str) -> bool:
    """Whether a model has a head for classification of its own."""
    return any("Classification" in kind for kind in _said(name, "config.json").get("architectures") or ())


def pooling(name: str) -> str:
    """How an encoder turns tokens into a vector: `mean`, `first`, or `other`; mean where it does not say."""
    said = _said(name, "1_Pooling/config.json")
    if said.get("pooling_mode_mean_tokens", not said):
        return "mean"
    return "first" if said.get("pooling_mode_cls_token") else "other"


def max_tokens(name: str, tokenizer: Any, config: Any) -> int:  # noqa: ANN401
    """The length, in tokens, that the model was made for."""
    limits = [
        _MOST_TOKENS,
        tokenizer.model_max_length,
        _said(name, "sentence_bert_config.json").get("max_seq_length"),
        # RoBERTa counts its positions from the padding's number on.
        (getattr(config, "max_position_embeddings", None) or _MOST_TOKENS + 2)
        - (2 if "roberta" in config.model_type else 0),
    ]
    return min(int(limit) for limit in limits if limit)


@contextlib.contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Without what some libraries log below errors."""
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    try:
        for logger in levels:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def _said(name: str, file: str) -> dict[str, Any]:
    """A JSON file of a model, empty if it has none."""
    path = cached_file(
        source(name),
        file,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
