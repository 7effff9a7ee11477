"""A pretrained model with a head for classification, which starts as the logistic regression on the model's vectors.

Linear probing, then fine-tuning: Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution (2022).
"""

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file

from prepal.errors import PrepalError, cause
from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.label_names import name_text
from prepal.learning.classifiers.labels import Labels, NothingToLearn
from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.records import readable
from prepal_workers.encoder.weights import source
from prepal_workers.labelled.text_fields import Text

# Models whose layers are BERT's and whose head looks at the first token.
_BERT_LIKE = ("bert", "roberta", "xlm-roberta", "camembert")
# A layer that averages all tokens adds the average to the first token, so it must outweigh that.
_POOL_GAIN = 100.0
# Heads of such models squash by tanh; this far inside it a number stays what it was.
_TANH_SCALE = 0.1
# A class without any label starts this much less likely than the least likely one.
_UNSEEN_LOGIT = 5.0
# Texts longer than this cost too much for what their ends say.
_MOST_TOKENS = 512
_PREDICTED_TOKENS = 8192
# So many texts without a label say how texts differ; more say the same.
_LEAST_UNLABELLED, _MOST_UNLABELLED = 300, 2000


class SequenceModel:
    """Texts, or pairs of texts → logits.

    Args:
        name: name on the Hugging Face hub, or a local folder.
        n_classes: k.
        multilabel: whether a text may have several classes.
        seed: of what the head is drawn from, where it is not fitted.

    Attributes:
        on_read: told, while many texts are read, how many of how many are.

    Raises:
        PrepalError: the model cannot be loaded.
    """

    on_read: Callable[[int, int], None]

    def __init__(self, name: str, n_classes: int, *, multilabel: bool = False, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.name = name
        self.n_classes = n_classes
        self.multilabel = multilabel
        self.on_read = _tell_nobody
        self.tokenizer, self.model = _load(
            name,
            num_labels=n_classes,
            problem_type="multi_label_classification" if multilabel else "single_label_classification",
        )
        self.max_tokens = _max_tokens(source(name), self.tokenizer, self.model.config)
        if not any("Classification" in kind for kind in _said(source(name), "config.json").get("architectures") or ()):
            _pool_like_the_encoder(self.model, _pooling(source(name)))

    @classmethod
    def load(cls, folder: Path) -> "SequenceModel":
        """Load what `save` left.

        Raises:
            PrepalError: the folder holds no model.
        """
        found = cls.__new__(cls)
        found.name = str(folder)
        found.on_read = _tell_nobody
        found.tokenizer, found.model = _load(str(folder))
        found.n_classes = found.model.config.num_labels
        found.multilabel = found.model.config.problem_type == "multi_label_classification"
        found.max_tokens = _max_tokens(str(folder), found.tokenizer, found.model.config)
        return found

    @property
    def parameters(self) -> int:
        """How many numbers the model has."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return tuple(self.model.config.id2label[index] for index in range(self.n_classes))

    def tokenize(self, texts: Sequence[Text]) -> list[dict[str, Any]]:
        """What the model reads of each text; pairs in the tokenizer's own encoding."""
        if not texts:
            return []
        if isinstance(texts[0], tuple):
            parts = ([readable(text[0]) for text in texts], [readable(text[1]) for text in texts])
        else:
            parts = ([readable(str(text)) for text in texts],)  # type: ignore[assignment]
        encoded = self.tokenizer(*parts, truncation=True, max_length=self.max_tokens)
        return [{key: encoded[key][place] for key in encoded} for place in range(len(texts))]

    def start_head(
        self,
        texts: Sequence[Text],
        labels: Labels,
        unlabelled: Sequence[Text] = (),
        label_names: Sequence[str] = (),
    ) -> bool:
        """Fit the head's last layer as a logistic regression on what it sees of the texts; False if nothing can be.

        With enough texts without a label it is the classifier of the live loop, to which they and the names of the
        labels say what to expect. With fewer, a name is one more text with its label.
        """
        k = self.n_classes
        names = [name_text(name) for name in label_names] if self._reads_names(texts) else []
        others = [*unlabelled[:_MOST_UNLABELLED]] if len(unlabelled) >= _LEAST_UNLABELLED else []
        seen = self._run(self.tokenize([*texts, *names, *others]), hidden=True)
        length = float(np.linalg.norm(seen, axis=1).mean()) or 1.0
        own, named, rest = np.split(seen / np.float32(length), [len(texts), len(texts) + len(names)])
        classifier: LogisticRegression
        try:
            if others:
                learner = ActiveLearner(k, "random", multilabel=self.multilabel, name_vectors=named if names else None)
                learner.fit(own, labels, rest)
                classifier = cast(LogisticRegression, learner.classifier)
            else:
                classifier = LogisticRegression(k, multilabel=self.multilabel)
                classifier.fit(*((np.vstack([own, named]), np.r_[labels, np.arange(k)]) if names else (own, labels)))
        except NothingToLearn:
            return False
        coefficients = classifier.get_state()["coefficients"].astype(np.float64)
        biases = coefficients[-1].copy()
        known = classifier.classes_seen
        if not self.multilabel:
            biases[~known] = biases[known].min() - _UNSEEN_LOGIT
        head = last_layer(self.model)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(coefficients[:-1].T / length))
            head.bias.copy_(torch.from_numpy(biases))
        return True

    def _reads_names(self, texts: Sequence[Text]) -> bool:
        """Whether names of labels can be taken for texts: not for pairs, nor where a text may have several labels."""
        return not self.multilabel and bool(texts) and isinstance(texts[0], str)

    def vectors(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """What the head sees of texts `(n, d)` float32, at a mean length of 1."""
        seen = self._run(self.tokenize(texts), hidden=True)
        return np.asarray(seen / np.linalg.norm(seen, axis=1).mean(), np.float32)

    def logits(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """Logits `(n, k)` float32."""
        return self._run(self.tokenize(texts), hidden=False)

    def predict_proba(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """Probabilities `(n, k)` float32; rows sum to 1 unless several classes may be right."""
        logits = torch.from_numpy(self.logits(texts))
        return np.asarray((logits.sigmoid() if self.multilabel else logits.softmax(dim=1)).numpy(), np.float32)

    def soften(self, temperature: float) -> None:
        """Divide all logits by a number, in the weights themselves, so that every user of the model gets that."""
        head = last_layer(self.model)
        with torch.no_grad():
            head.weight.div_(temperature)
            head.bias.div_(temperature)

    def save(self, folder: Path, label_names: Sequence[str]) -> None:
        """Write a folder that `transformers.pipeline("text-classification", folder)` loads."""
        config = self.model.config
        config.id2label = dict(enumerate(label_names))
        config.label2id = {label: index for index, label in enumerate(label_names)}
        self.tokenizer.model_max_length = self.max_tokens
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def _run(self, encoded: Sequence[dict[str, Any]], *, hidden: bool) -> NDArray[np.float32]:
        self.model.eval()
        head = last_layer(self.model)
        found = np.empty((len(encoded), head.in_features if hidden else self.n_classes), np.float32)
        done = 0
        caught: list[torch.Tensor] = []
        hook = head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
        try:
            with torch.inference_mode():
                for places in _batches([len(one["input_ids"]) for one in encoded]):
                    batch = self.tokenizer.pad([encoded[place] for place in places], return_tensors="pt")
                    caught.clear()
                    logits = self.model(**batch.to(self.model.device)).logits
                    found[places] = (caught[0] if hidden else logits).float().cpu().numpy()
                    done += len(places)
                    self.on_read(done, len(encoded))
        finally:
            hook.remove()
        return found


def _tell_nobody(done: int, total: int) -> None:
    del done, total


def last_layer(model: nn.Module) -> nn.Linear:
    """The layer that gives the logits."""
    classes = model.config.num_labels  # type: ignore[union-attr]
    linear = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == classes]
    return linear[-1]


def _load(name: str, **config: Any) -> tuple[Any, Any]:  # noqa: ANN401
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # That the head is new is no news.
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        tokenizer = AutoTokenizer.from_pretrained(source(name))
        model = AutoModelForSequenceClassification.from_pretrained(
            source(name), dtype=torch.float32, ignore_mismatched_sizes=bool(config), **config
        )
    except Exception as error:
        raise PrepalError(
            f"The model {name} cannot be loaded ({cause(error)}): give the folder of a downloaded model, or a name "
            "that the Hugging Face hub has."
        ) from error
    finally:
        transformers_logging.set_verbosity(before)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
        model.config.pad_token_id = tokenizer.pad_token_id
    return tokenizer, model


def _pooling(name: str) -> str:
    """How an encoder turns tokens into a vector: `mean`, `first`, or another way; mean where it does not say."""
    said = _said(name, "1_Pooling/config.json")
    if said.get("pooling_mode_mean_tokens", not said):
        return "mean"
    return "first" if said.get("pooling_mode_cls_token") else "other"


def _said(name: str, file: str) -> dict[str, Any]:
    """A JSON file of a model, empty if it has none."""
    path = cached_file(
        name,
        file,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return json.loads(Path(path).read_text(encoding="utf-8")) if path else {}


def _max_tokens(name: str, tokenizer: Any, config: Any) -> int:  # noqa: ANN401
    """The length that the model was made for."""
    limits = [
        _MOST_TOKENS,
        tokenizer.model_max_length,
        _said(name, "sentence_bert_config.json").get("max_seq_length"),
        # RoBERTa counts its positions from the padding's number on.
        (getattr(config, "max_position_embeddings", None) or _MOST_TOKENS + 2)
        - (2 if "roberta" in config.model_type else 0),
    ]
    return min(int(limit) for limit in limits if limit)


def _pool_like_the_encoder(model: Any, pooling: str) -> None:  # noqa: ANN401
    """Make the head see the encoder's own vector, in the architecture's own form.

    Heads of such models see the first token. A last layer whose queries and keys are zero attends to all tokens alike,
    so that its first token is their mean; its normalisation gives all vectors one length. It stays as it is.
    """
    config = model.config
    if config.model_type not in _BERT_LIKE or pooling == "other":
        return
    base = model.base_model
    size = config.hidden_size
    dense = base.pooler.dense if config.model_type == "bert" else model.classifier.dense
    with torch.no_grad():
        dense.weight.copy_(_TANH_SCALE * torch.eye(size))
        dense.bias.zero_()
        if pooling == "mean":
            layer = copy.deepcopy(base.encoder.layer[-1])
            for parameter in layer.parameters():
                parameter.zero_()
            layer.attention.self.value.weight.copy_(torch.eye(size))
            layer.attention.output.dense.weight.copy_(_POOL_GAIN * torch.eye(size))
            layer.attention.output.LayerNorm.weight.fill_(1)
            layer.output.LayerNorm.weight.fill_(1)
            base.encoder.layer.append(layer)
            config.num_hidden_layers += 1
    for module in (dense, *base.encoder.layer[config.num_hidden_layers - (pooling == "mean") :]):
        module.requires_grad_(False)


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Places of texts of similar length, longest first."""
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    batches, start = [], 0
    while start < len(order):
        size = max(1, _PREDICTED_TOKENS // max(1, lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches
