"""In which precision an encoder computes: the fastest that gives the same vectors, found by measuring."""

import copy
import logging
import timeit
from collections.abc import Callable

import torch
from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

# A vector in less precision must be this close to the one in float32.
LEAST_COSINE = 0.999
# Less than this gained is not worth it.
_FASTER = 0.9
_REPEATS = 3
_PROBES = [
    "The printer on the second floor does not answer since this morning, although it was switched off and on. " * 2,
    "Wer hat den Schlüssel zum Serverraum?",
    "ok",
    "Shares of the company rose by 3.5 % on Tuesday after it had said that it would sell its energy business.",
    "我想取消昨天的订单。 Спасибо! 🙂",
    "0x1F 404 <br> http://example.com/?a=1&b=2",
]

Forward = Callable[[SentenceTransformer, list[str]], torch.Tensor]


def candidates(device: torch.device) -> list[torch.dtype]:
    """The precisions that may be faster than float32 on a device."""
    if device.type == "cuda":
        modern = torch.cuda.get_device_capability(device) >= (8, 0)
        return [torch.bfloat16, torch.float16] if modern else [torch.float16]
    return [torch.bfloat16] if device.type == "cpu" else [torch.float16]


def measured(model: SentenceTransformer, forward: Forward) -> SentenceTransformer:
    """The model itself, or a copy of it in less precision that is faster and gives the same vectors.

    Args:
        model: the encoder in float32.
        forward: gives the vectors (n, d) float32 of texts by a model, computed as they will be.
    """
    try:
        reference, best_s = _timed(model, forward)
    except Exception as error:
        log.warning("the fastest precision cannot be looked for (%s): float32 is used", error)
        return model
    best = model
    for dtype in candidates(model.device):
        less = converted(model, dtype)
        vectors, seconds = _timed(less, forward)
        cosine = float(torch.nn.functional.cosine_similarity(vectors, reference).min())
        log.debug("%s: %.1f ms (best so far: %.1f), cosine %.5f", dtype, 1e3 * seconds, 1e3 * best_s, cosine)
        if cosine >= LEAST_COSINE and seconds < _FASTER * best_s:
            best, best_s = less, seconds
    return best


def converted(model: SentenceTransformer, dtype: torch.dtype) -> SentenceTransformer:
    """A copy whose transformer computes in `dtype`; pooling and what follows stay in float32."""
    less = copy.deepcopy(model)
    less[0].to(dtype)
    less[0].register_forward_hook(_to_float32)
    return less


def _to_float32(_module: torch.nn.Module, _inputs: object, features: dict[str, object]) -> dict[str, object]:
    return {
        name: value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for name, value in features.items()
    }


def _timed(model: SentenceTransformer, forward: Forward) -> tuple[torch.Tensor, float]:
    vectors = forward(model, _PROBES)
    return vectors, min(timeit.repeat(lambda: forward(model, _PROBES), number=1, repeat=_REPEATS))
