"""How fast texts become vectors, beside sentence-transformers' `encode`, in turns."""

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer, BertConfig, BertModel

from benchmarks.sections import Goal, table
from benchmarks.storage import Record
from prepal_workers.encoder.encoder import Encoder
from prepal_workers.encoder.precision import converted
from prepal_workers.encoder.weights import DEFAULT_ENCODER, source

PACKAGES = ("prepal-label-studio", "torch", "sentence-transformers", "transformers", "lancedb", "numpy")

TEXTS = 5000
_CPU_BATCHES, _GPU_BATCHES = (4, 8, 16, 32, 64), (32, 64, 128, 256, 512, 1024)
# Texts on which the best batch size is looked for, and parts into which the texts are split: every part is measured by
# all in turns, so that whatever else the machine does meanwhile falls on all alike.
_SWEEP_TEXTS, _PARTS = 320, 5
BEST, DEFAULTS, GPU_BEST, COSINE, CEILING = 1.3, 2.0, 1.5, 0.999, 0.5
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def run_cpu(texts: dict[str, list[str]], console: Console, count: int = TEXTS) -> Record:
    """Both precisions on both sets, of so many texts each."""
    model = SentenceTransformer(source(DEFAULT_ENCODER), device="cpu")
    chosen = Encoder(DEFAULT_ENCODER, device="cpu").dtype
    found: Record = {"chosen": str(chosen).removeprefix("torch."), "threads": torch.get_num_threads(), "races": []}
    for name, of in texts.items():
        some = of[:count]
        for precision, dtype in _DTYPES.items():
            theirs = model if dtype == torch.float32 else converted(model, dtype)
            ours = Encoder(DEFAULT_ENCODER, device="cpu", dtype=dtype)
            with console.status(f"{name}, {precision}"):
                found["races"].append(
                    {"set": name, "precision": precision} | _race(model, theirs, ours, some, _CPU_BATCHES)
                )
    return found


def _race(
    exact: SentenceTransformer,
    theirs: SentenceTransformer,
    ours: Encoder,
    texts: list[str],
    batch_sizes: tuple[int, ...],
) -> Record:
    """Seconds for all texts: theirs at the best batch size, theirs with its defaults, ours; and how close ours are."""
    sweep = _sweep(theirs, texts, batch_sizes)
    best = min(sweep, key=lambda size: sweep[size])
    runs: dict[str, Callable[[list[str]], Any]] = {
        "best": lambda part: _theirs(theirs, part, best),
        "defaults": lambda part: exact.encode(part, show_progress_bar=False),
        "ours": ours.encode,
    }
    size = -(-len(texts) // _PARTS)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for start in range(0, len(texts), size):
        for name, run in runs.items():
            seconds[name].append(_seconds(lambda run=run, start=start: run(texts[start : start + size])))
    sample = texts[:: max(1, len(texts) // 500)]
    cosine = _cosines(ours.encode(sample), exact.encode(sample, show_progress_bar=False)).min()
    return {
        "texts": len(texts),
        "best_batch": best,
        "sweep_s": {str(size): round(value, 3) for size, value in sweep.items()},
        **{f"{name}_s": [round(one, 3) for one in each] for name, each in seconds.items()},
        "times_best": round(_ratio(seconds["best"], seconds["ours"]), 3),
        "times_defaults": round(_ratio(seconds["defaults"], seconds["ours"]), 3),
        "cosine": round(float(cosine), 5),
    }


def best_batch(theirs: SentenceTransformer, texts: list[str]) -> int:
    """The batch size at which `encode` is fastest on a processor."""
    sweep = _sweep(theirs, texts, _CPU_BATCHES)
    return min(sweep, key=lambda size: sweep[size])


def _sweep(theirs: SentenceTransformer, texts: list[str], batch_sizes: tuple[int, ...]) -> dict[int, float]:
    some = texts[:: max(1, len(texts) // _SWEEP_TEXTS)]
    return {size: _seconds(lambda size=size: _theirs(theirs, some, size)) for size in batch_sizes}


def _ratio(theirs: list[float], ours: list[float]) -> float:
    """The median of the ratios of the parts."""
    return statistics.median(one / other for one, other in zip(theirs, ours, strict=True))


def _theirs(model: SentenceTransformer, texts: list[str], batch_size: int) -> Any:  # noqa: ANN401
    return model.encode(texts, batch_size=batch_size, show_progress_bar=False)


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _cosines(some: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    some, others = some.astype(np.float64), others.astype(np.float64)
    cosines: NDArray[np.float64] = (
        (some * others).sum(1) / np.linalg.norm(some, axis=1) / np.linalg.norm(others, axis=1)
    )
    return cosines


def goals_cpu(stored: Record) -> list[Goal]:
    """Against the best batch size at both precisions; against the defaults at the one that we choose."""
    found = []
    for race in stored["races"]:
        name = f"CPU, {race['set']}, {race['precision']}"
        found.append(Goal(f"{name}: times faster than encode at its best batch size", race["times_best"], BEST, True))
        found.append(Goal(f"{name}: least cosine to float32", race["cosine"], COSINE, True, digits=4))
        if race["precision"] == stored["chosen"]:
            found.append(Goal(f"{name}: times faster than encode's defaults", race["times_defaults"], DEFAULTS, True))
    return found


def section_cpu(stored: Record) -> str:
    """The races as a table."""
    rows = [
        [
            race["set"],
            race["precision"],
            f"{race['texts'] / sum(race['ours_s']):.0f}",
            f"{race['texts'] / sum(race['best_s']):.0f} (batch {race['best_batch']})",
            f"{race['texts'] / sum(race['defaults_s']):.0f}",
        ]
        for race in stored["races"]
    ]
    return "\n\n".join(
        [
            f"### On {stored['threads']} cores",
            f"Texts a second, all-MiniLM-L6-v2; `encode` is sentence-transformers'. The texts are split into {_PARTS} "
            "parts, which all embed in turns; a ratio is the median of the parts'. `encode`'s best batch size is the "
            f"best of {', '.join(map(str, _CPU_BATCHES))} on {_SWEEP_TEXTS} texts; its defaults are 32 texts and "
            f"float32. On this machine the encoder chose {stored['chosen']}.",
            table(["set", "precision", "ours", "encode, best", "encode, defaults"], rows, text_columns=2),
        ]
    )


def run_gpu(texts: dict[str, list[str]], console: Console) -> Record | None:
    """MiniLM, and a BERT-base with random weights, on a mix of lengths; None where there is no GPU."""
    if not torch.cuda.is_available():
        console.print("No GPU is at hand: its part is not run.")
        return None
    mixed = [text for pair in zip(*(of[:20_000] for of in texts.values()), strict=False) for text in pair]
    mixed += [" ".join(mixed[at : at + 8]) for at in range(0, len(mixed), 80)]
    device, found = torch.device("cuda"), []
    with tempfile.TemporaryDirectory() as folder:
        folders = {"MiniLM-L6": source(DEFAULT_ENCODER), "BERT-base": _bert_base(folder)}
        loaded = {
            name: (SentenceTransformer(at, device="cuda"), Encoder(at, device="cuda", dtype=torch.bfloat16))
            for name, at in folders.items()
        }
    for name, (model, ours) in loaded.items():
        half = converted(model, torch.bfloat16)
        ours.encode(mixed[:2000])
        with console.status(name):
            race = _race(model, half, ours, mixed, _GPU_BATCHES)
        tokens = sum(len(ids) for ids in model.tokenizer(mixed, truncation=True, max_length=256)["input_ids"])
        flops = 2 * sum(p.numel() for n, p in model.named_parameters() if "embeddings" not in n and p.ndim == 2)
        rate = tokens / sum(race["ours_s"])
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            ours.encode(mixed[:4000])
        top = sorted(profile.key_averages(), key=lambda event: -event.self_device_time_total)[:8]
        spent = sum(event.self_device_time_total for event in profile.key_averages()) or 1.0
        found.append(
            {"model": name, "tokens_per_s": round(rate), "ceiling": _ceiling(device) / flops, **race}
            | {"profile": {event.key[:60]: round(event.self_device_time_total / spent, 3) for event in top}}
        )
    return {"device": torch.cuda.get_device_name(device), "races": found}


def _bert_base(folder: str) -> str:
    BertModel(BertConfig()).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source(DEFAULT_ENCODER)).save_pretrained(folder)
    return folder


def _ceiling(device: torch.device, size: int = 8192, repeats: int = 20) -> float:
    """Operations a second of a large product of bfloat16 matrices."""
    one, other = (torch.randn(size, size, dtype=torch.bfloat16, device=device) for _ in range(2))
    for _ in range(3):
        one @ other
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(repeats):
        one @ other
    torch.cuda.synchronize()
    return 2 * size**3 * repeats / (time.perf_counter() - began)


def goals_gpu(stored: Record) -> list[Goal]:
    """Against the best batch size; and, of BERT-base, the share of the ceiling."""
    found = []
    for race in stored["races"]:
        name = f"GPU, {race['model']}"
        found.append(
            Goal(f"{name}: times faster than encode at its best batch size", race["times_best"], GPU_BEST, True)
        )
        share = race["tokens_per_s"] / race["ceiling"]
        wanted = CEILING if race["model"] == "BERT-base" else 0.0
        found.append(Goal(f"{name}: share of the matrix-product ceiling", share, wanted, True))
    return found


def section_gpu(stored: Record) -> str:
    """The races, and where the time goes."""
    rows = [
        [race["model"], f"{race['tokens_per_s']:,}", f"{race['ceiling']:,.0f}", str(race["best_batch"])]
        for race in stored["races"]
    ]
    spent = [
        f"- {race['model']}: {', '.join(f'{k} {v:.0%}' for k, v in race['profile'].items())}"
        for race in stored["races"]
    ]
    header = ["model", "tokens a second", "ceiling", "encode's best batch"]
    return "\n\n".join([f"### On a {stored['device']}", table(header, rows), "\n".join(spent)])
