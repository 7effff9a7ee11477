"""Texts → vectors, by a pretrained encoder."""

import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from transformers.utils import logging as transformers_logging

from prepal.errors import PrepalError, cause
from prepal.labels.text_fields import FIELD_MARK
from prepal.records import readable
from prepal.vectors import encoders
from prepal.vectors.encoders import WINDOWS
from prepal_workers.encoder import batches, long_texts, precision
from prepal_workers.encoder.batches import Features
from prepal_workers.encoder.weights import DEFAULT_ENCODER, source

log = logging.getLogger(__name__)

# Padded tokens of one batch. On processors, what passes between two layers then stays in a core's cache; others want
# to be kept busy for longer than it takes to tell them what to do.
_BATCH_TOKENS, _CPU_BATCH_TOKENS = 32_768, 512
# Beyond so many threads they wait for Python; then each uses several cores.
_MOST_THREADS = 16
# No text that people write has tokens this long, so what is cut off would not have been read anyway.
_MOST_CHARS_A_TOKEN = 50
# For encoders that name no limit.
_MOST_TOKENS = 8192
# Encoders whose makers ask for a prompt in the model card alone, and what they ask for where vectors are features.
_PROMPTS = (
    (re.compile(r"(^|[/_-])e5-(small|base|large)(?!.*instruct)", re.IGNORECASE), "query: "),
    (re.compile(r"(^|/)nomic-embed-text-v1", re.IGNORECASE), "classification: "),
)


class Encoder:
    """A pretrained model with its own pooling, normalisation and prompt; mean pooling where a model names none.

    Args:
        name: name on the Hugging Face hub, a local folder, or an identity; with `#windows` at the end, texts longer
            than the model reads are the mean over windows, otherwise they are cut. An adapted encoder does as its base.
        device: torch device; the best one when None.
        folder: where the files of an adapted encoder lie; nobody else writes there, and it may go afterwards.
        dtype: in which the transformer computes; None: the fastest that gives the same vectors, which is measured.
        batch_tokens: places of one batch, padding included; fewer when memory runs out.

    Raises:
        PrepalError: the model cannot be loaded, or its files changed meanwhile.
    """

    def __init__(
        self,
        name: str,
        device: str | None = None,
        *,
        folder: str | None = None,
        dtype: torch.dtype | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        self.name = name
        self._is_private = folder is not None
        began = time.monotonic()
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        weights = encoders.weights(name)
        self.seen = encoders.look(weights)
        """How the files looked before they were read."""
        self.identity = encoders.here(name)
        """What it is called by: its name, or that of its folder with what was in it when it was loaded."""
        try:
            model = SentenceTransformer(folder or source(weights), device=device)
        except Exception as error:
            remedy = (
                "use the release that trained it"
                if folder
                else "set PREPAL_ENCODER to the folder of a downloaded model, to a name that the Hugging Face hub has, "
                f"or to {DEFAULT_ENCODER}"
            )
            raise PrepalError(
                f"The encoder {name if folder else weights} cannot be loaded ({cause(error)}): {remedy}."
            ) from error
        model.eval()
        self._prompt = prompt_of(model, weights)
        self._max_tokens = min(model.max_seq_length or _MOST_TOKENS, _MOST_TOKENS)
        self._window_tokens = self._room(model) if encoders.base_of(name).endswith(WINDOWS) else None
        on_cpu = model.device.type == "cpu"
        self._batch_tokens = batch_tokens or (_CPU_BATCH_TOKENS if on_cpu else _BATCH_TOKENS)
        self._tokenising = ThreadPoolExecutor(1, thread_name_prefix="tokenise")
        self._computing = _computing_threads(_MOST_THREADS if on_cpu else 1)
        self.device = str(model.device)
        if dtype is None:
            self._model = precision.measured(model, self._probe)
        else:
            self._model = model if dtype == torch.float32 else precision.converted(model, dtype)
        self.dtype = next((p.dtype for p in self._model.parameters() if p.is_floating_point()), torch.float32)
        vector = self._probe(self._model, ["dimension"])
        self.dimension = int(vector.shape[1])
        self._unit = bool(torch.isclose(vector.norm(), torch.ones(()), atol=1e-2))
        if not self.is_as_loaded():
            raise PrepalError(f"The files of the encoder {weights} changed while it was loaded: start again.")
        log.info(
            "encoder %s: on %s in %s, loaded in %.1f s",
            *(name, self.device, str(self.dtype).removeprefix("torch."), time.monotonic() - began),
        )

    def encode(self, texts: Sequence[str]) -> NDArray[np.float16]:
        """Vectors of texts; texts with a `text_fields.FIELD_MARK` in them are pairs, joined as the model joins pairs.

        Returns:
            (n, d) float16, in the order of the texts; infinite where a number is too large for float16.
        """
        longest = self._max_tokens * _MOST_CHARS_A_TOKEN * (long_texts.MOST_WINDOWS if self._window_tokens else 1)
        cleaned = [readable(text[:longest]) for text in texts]
        if self._window_tokens is None:
            return self._encode(cleaned)
        pieces, owners = long_texts.windows_of(cleaned, self._model.tokenizer, self._window_tokens)
        return long_texts.mean(self._encode(pieces), owners, unit=self._unit)

    def is_as_loaded(self) -> bool:
        """Whether the files are those that were loaded: they may be read again while it works."""
        return self._is_private or encoders.look(encoders.weights(self.name)).digest == self.seen.digest

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

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float16]:
        vectors = np.empty((len(texts), self.dimension), np.float16)
        running: list[tuple[list[int], Future[torch.Tensor]]] = []
        windows = list(batches.windows(texts, self._max_tokens))
        tokenised = [self._tokenise(texts, window) for window in windows[:1]]
        try:
            for place in range(len(windows)):
                ready = tokenised.pop().result()
                tokenised += [self._tokenise(texts, window) for window in windows[place + 1 : place + 2]]
                # The last window is computed while this one is told to the device, so that it never waits.
                told = [(places, self._computing.submit(self._forward, self._model, f)) for places, f in ready]
                _collect(running, vectors)
                running = told
            _collect(running, vectors)
        finally:
            for _, future in running:
                future.cancel()
        return vectors

    def _tokenise(self, texts: Sequence[str], window: list[int]) -> "Future[list[tuple[list[int], Features]]]":
        return self._tokenising.submit(lambda: list(self._batches(self._model, texts, window)))

    def _batches(
        self, model: SentenceTransformer, texts: Sequence[str], window: Sequence[int]
    ) -> Iterator[tuple[list[int], Features]]:
        """Batches of a window's texts: their places, and what the model reads of them."""
        features = model.preprocess([parts_of(texts[place]) for place in window], prompt=self._prompt)
        lengths = batches.lengths(features)
        if lengths is None:
            yield list(window), features
            return
        for places in batches.plan(lengths, self._batch_tokens):
            yield [window[place] for place in places], batches.rows(features, places)

    def _forward(self, model: SentenceTransformer, features: Features) -> torch.Tensor:
        """(b, d) float32 on the model's device, which may still be computing."""
        try:
            with torch.inference_mode():
                moved = {name: _moved(value, model.device) for name, value in features.items()}
                vectors: torch.Tensor = model(moved)["sentence_embedding"]
                return vectors.float()
        except RuntimeError as error:
            memory_ran_out = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
            if not memory_ran_out or len(features.get("attention_mask", ())) < 2:
                raise
        if model.device.type == "cuda":
            torch.cuda.empty_cache()
        self._batch_tokens = max(self._max_tokens, self._batch_tokens // 2)
        log.warning("memory ran out: batches of %d tokens from now on", self._batch_tokens)
        return torch.cat([self._forward(model, half) for half in batches.halves(features)])

    def _probe(self, model: SentenceTransformer, texts: list[str]) -> torch.Tensor:
        """(n, d) float32 by this model, in one of the threads that compute."""
        places, parts = [], []
        for some, features in self._batches(model, texts, range(len(texts))):
            places += some
            parts.append(self._computing.submit(self._forward, model, features).result().cpu())
        return torch.cat(parts)[np.argsort(places)]

    def _room(self, model: SentenceTransformer) -> int:
        """How many tokens of a text the model reads beside its prompt and the marks around it."""
        features = model.preprocess(["x"], prompt=self._prompt)
        marks = int(features["input_ids"].shape[1]) - len(model.tokenizer("x", add_special_tokens=False)["input_ids"])
        return max(1, self._max_tokens - marks)


def prompt_of(model: SentenceTransformer, name: str) -> str | None:
    """An encoder's default prompt, else its own for classification, else what its makers ask for by its name."""
    prompts: dict[str, str] = {key.lower(): value for key, value in (model.prompts or {}).items() if value}
    if model.default_prompt_name:
        return prompts.get(model.default_prompt_name.lower())
    by_name = (prompt for pattern, prompt in _PROMPTS if pattern.search(name))
    return prompts.get("classification") or prompts.get("clustering") or next(by_name, None)


def parts_of(text: str) -> str | tuple[str, str]:
    """What a model reads of a text: a pair where there is a mark between two fields."""
    first, mark, second = text.partition(FIELD_MARK)
    return (first, second.replace(FIELD_MARK, "\n")) if mark else text


def _collect(running: list[tuple[list[int], Future[torch.Tensor]]], vectors: NDArray[np.float16]) -> None:
    while running:
        places, future = running[0]
        with np.errstate(over="ignore"):
            vectors[places] = future.result().cpu().numpy().astype(np.float16)
        running.pop(0)


def _moved(value: object, device: torch.device) -> object:
    if not isinstance(value, torch.Tensor) or device.type == "cpu":
        return value
    return (value.pin_memory() if device.type == "cuda" else value).to(device, non_blocking=True)


def _computing_threads(most: int) -> ThreadPoolExecutor:
    """Threads that share the processor's cores: several with a core each compute more than one that uses them all."""
    cores = torch.get_num_threads()
    count = min(cores, most)
    started = threading.Barrier(count + 1)

    def begin() -> None:
        torch.set_num_threads(max(1, cores // count))
        started.wait()

    threads = ThreadPoolExecutor(count, thread_name_prefix="compute")
    for _ in range(count):
        threads.submit(begin)
    started.wait()
    # Threads that are not ours begin with what was said last.
    torch.set_num_threads(cores)
    return threads
