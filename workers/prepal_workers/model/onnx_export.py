"""A model as ONNX, checked against the original."""

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prepal.errors import PrepalError, cause
from prepal_workers.labelled.fields import Text
from prepal_workers.labelled.wording import named
from prepal_workers.model.loading import quiet
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.model.word_counts import WordCounts, joined_lower

FILE = "model.onnx"
# What other arithmetic may change in a logit; more would be another model.
_TOLERANCE = 1e-3
_NEEDED, _NEEDED_BY_WORDS = ("onnx", "onnxscript", "onnxruntime"), ("onnx", "skl2onnx", "onnxruntime")
# The words that scikit-learn counts, in the pattern language of ONNX.
_WORD = r"[\p{L}\p{N}_][\p{L}\p{N}_]+"


def check_installed(*, words: bool = False) -> None:
    """Refuse early; `words`: the model counts words.

    Raises:
        PrepalError: what ONNX needs is not installed.
    """
    needed = _NEEDED_BY_WORDS if words else _NEEDED
    if any(find_spec(package) is None for package in needed):
        raise PrepalError(f"ONNX needs {named(needed)}: pip install 'prepal-label-studio[onnx]'.")


def export_onnx(model: SequenceModel, folder: Path, texts: Sequence[Text]) -> dict[str, Any]:
    """Write `model.onnx` beside the model, which was saved to `folder`; returns how far they differ on some texts.

    Raises:
        PrepalError: the model cannot be exported, or the export gives other numbers.
    """
    path = folder / FILE
    encoded = model.tokenize(texts)
    names = list(encoded[0])
    # Two texts of some length: what is one here would be taken for constant.
    example = model.tokenizer.pad([encoded[0], encoded[-1]], return_tensors="pt").to("cpu")
    device = model.model.device
    original = model.model.to("cpu").eval()
    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    try:
        with warnings.catch_warnings(), quiet("torch.onnx", "onnxscript", "onnx_ir"):
            # The exporter warns of its own code.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _Logits(original, names),
                tuple(example[name] for name in names),
                path,
                input_names=names,
                output_names=["logits"],
                dynamic_shapes=(tuple(sizes for _ in names),),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as failure:
        # Exporters wrap what went wrong in pages of advice.
        error: BaseException = failure
        while error.__cause__:
            error = error.__cause__
        raise PrepalError(f"The model cannot be written as ONNX ({cause(error)}): leave out --onnx.") from failure
    exported = _run(path, model, encoded)
    expected = model.logits(texts)
    model.model.to(device)
    return _compared(path, exported, expected)


def export_words(model: WordCounts, folder: Path, texts: Sequence[Text]) -> dict[str, Any]:
    """Write a model of word counts, which takes texts in lower case; returns how far they differ on some texts.

    Raises:
        PrepalError: the model cannot be exported, or the export gives other numbers.
    """
    from onnxruntime import InferenceSession
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType

    path, pipeline = folder / FILE, model.in_lower_case()
    counter, regression = pipeline
    try:
        with warnings.catch_warnings(), quiet("skl2onnx"):
            warnings.simplefilter("ignore")
            written = to_onnx(
                pipeline,
                initial_types=[("text", StringTensorType([None, 1]))],
                options={id(counter): {"tokenexp": _WORD}, id(regression): {"zipmap": False}},
            )
        path.write_bytes(written.SerializeToString())
        session = InferenceSession(path, providers=["CPUExecutionProvider"])
        exported = session.run(None, {"text": np.array(joined_lower(texts), object)[:, None]})[1]
    except Exception as error:
        path.unlink(missing_ok=True)
        raise PrepalError(f"The model cannot be written as ONNX ({cause(error)}): leave out --onnx.") from error
    return _compared(path, exported, model.predict_proba(texts))


def _compared(path: Path, exported: NDArray[np.float32], expected: NDArray[np.float32]) -> dict[str, Any]:
    difference = float(np.abs(exported - expected).max())
    if not difference <= _TOLERANCE:
        path.unlink()
        raise PrepalError(
            f"The ONNX model gives other answers than the original (up to {difference:.4f} apart): leave out --onnx."
        )
    return {"file": FILE, "texts": len(exported), "largest_difference": difference}


class _Logits(torch.nn.Module):
    """The model as a function of tensors in a fixed order."""

    def __init__(self, model: torch.nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, list(names)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


def _run(path: Path, model: SequenceModel, encoded: Sequence[dict[str, Any]]) -> NDArray[np.float32]:
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    found = []
    for one in encoded:
        batch = model.tokenizer.pad([one], return_tensors="np")
        found.append(session.run(["logits"], {name: np.asarray(batch[name], np.int64) for name in one})[0])
    return np.concatenate(found)
