"""A pretrained model with a head for classification, which starts as the logistic regression on the model's vectors.

Linear probing, then fine-tuning: Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution (2022).
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from prepal.learning.active_learner import ActiveLearner
from prepal.learning.classifiers.label_names import name_text
from prepal.learning.classifiers.labels import Labels, NothingToLearn
from prepal.learning.classifiers.logistic import LogisticRegression
from prepal.records import readable
from prepal_workers.encoder import batches
from prepal_workers.labelled.fields import Text
from prepal_workers.model.head import last_layer, pool_like_the_encoder
from prepal_workers.model.loading import is_classifier, load_pretrained, max_tokens, pooling

# A class without any label starts this much less likely than the least likely one.
_UNSEEN_LOGIT = 5.0
# Places of a batch that nothing is learnt from, padding included.
_PREDICTED_TOKENS = 8192
# So many texts without a label say how texts differ; more say the same.
_LEAST_UNLABELLED, _MOST_UNLABELLED = 300, 2000
# As wide as is usual; doubling the scale goes with it.
_LORA_RANK, _LORA_SCALE = 16, 32


@dataclass(frozen=True)
class Answers:
    """What a model makes of a texts.

    Attributes:
        vectors: `(a, d)` float32, what its head sees, each of length 1.
        logits: `(a, k)` float32.
    """

    vectors: NDArray[np.float32]
    logits: NDArray[np.float32]

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.float32]]) -> "Answers | None":
        """Those whose arrays were kept by their names, as `vars` gives them; None if they were not."""
        return cls(arrays["vectors"], arrays["logits"]) if "vectors" in arrays else None


class SequenceModel:
    """Texts, or pairs of texts → logits.

    Args:
        name: name on the Hugging Face hub, or a folder, such as `save` wrote.
        n_classes: k, of a new head; None to take the model's own.
        multilabel: whether a text may have several classes of a new head.
        seed: decides how the head begins where it is not fitted.

    Attributes:
        on_read: called while many texts are read, with how many of how many are.

    Raises:
        PrepalError: the model cannot be loaded.
    """

    def __init__(self, name: str, n_classes: int | None = None, *, multilabel: bool = False, seed: int = 0) -> None:
        head: dict[str, Any] = {}
        if n_classes is not None:
            torch.manual_seed(seed)
            kind = "multi_label_classification" if multilabel else "single_label_classification"
            head = {"num_labels": n_classes, "problem_type": kind}
        self.on_read: Callable[[int, int], None] | None = None
        self.tokenizer, self.model = load_pretrained(name, **head)
        self.n_classes: int = self.model.config.num_labels
        self.multilabel = self.model.config.problem_type == "multi_label_classification"
        self.max_tokens = max_tokens(name, self.tokenizer, self.model.config)
        if head and not is_classifier(name):
            pool_like_the_encoder(self.model, pooling(name))

    @property
    def parameters(self) -> int:
        """How many numbers the model has."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def transformer(self) -> dict[str, torch.Tensor]:
        """The weights of what lies below the head, by the transformer's own names."""
        found: dict[str, torch.Tensor] = self.model.base_model.state_dict()
        return found

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return tuple(self.model.config.id2label[index] for index in range(self.n_classes))

    def tokenize(self, texts: Sequence[Text]) -> list[dict[str, Any]]:
        """What the model reads of each text; pairs in the tokenizer's own encoding."""
        if not texts:
            return []
        if isinstance(texts[0], tuple):
            parts = [[readable(part) for part in column] for column in zip(*texts, strict=True)]
        else:
            parts = [[readable(str(text)) for text in texts]]
        encoded = self.tokenizer(*parts, truncation=True, max_length=self.max_tokens)
        return [{key: encoded[key][place] for key in encoded} for place in range(len(texts))]

    def start_head(
        self,
        texts: Sequence[Text],
        labels: Labels,
        unlabelled: NDArray[np.float32] | None = None,
        label_names: Sequence[str] = (),
    ) -> bool:
        """Fit the head's last layer as a logistic regression on what it sees of the texts; False if nothing can be.

        With `unlabelled`, what `see_some` saw of texts without a label, it is the classifier of the live loop, to which
        they and the names of the labels say what to expect. Without, a name is one more text with its label.
        """
        k = self.n_classes
        # Names are no texts where these are pairs, nor where a text may have several labels.
        names = [] if self.multilabel or isinstance(texts[0], tuple) else [name_text(name) for name in label_names]
        others = np.empty((0, last_layer(self.model).in_features), np.float32) if unlabelled is None else unlabelled
        seen = np.vstack([self._run([*texts, *names])[0], others])
        length = float(np.linalg.norm(seen, axis=1).mean()) or 1.0
        own, named, rest = np.split(seen / np.float32(length), [len(texts), len(texts) + len(names)])
        classifier: LogisticRegression
        try:
            if len(others):
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

    def see_some(self, unlabelled: Sequence[Text]) -> NDArray[np.float32] | None:
        """What the head sees of the first texts without a label `(u, d)` float32; None of too few to say anything."""
        if len(unlabelled) < _LEAST_UNLABELLED:
            return None
        return self._run(unlabelled[:_MOST_UNLABELLED])[0]

    def vectors(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """What the head sees of texts `(n, d)` float32, at a mean length of 1."""
        seen, _ = self._run(texts)
        return np.asarray(seen / np.linalg.norm(seen, axis=1).mean(), np.float32)

    def answers(self, texts: Sequence[Text]) -> Answers:
        """What the model makes of texts."""
        seen, logits = self._run(texts)
        lengths = np.linalg.norm(seen, axis=1, keepdims=True)
        return Answers(seen / np.where(lengths, lengths, 1), logits)

    def logits(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """Logits `(n, k)` float32."""
        return self._run(texts)[1]

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

    def add_lora(self) -> None:
        """Freeze the model, and put trainable low-rank matrices beside its linear layers; the head stays trainable.

        Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (2021).
        """
        # Here, because it takes long to load, and only large models need it.
        from peft import LoraConfig, TaskType, get_peft_model

        linear = {name: layer for name, layer in self.model.named_modules() if isinstance(layer, torch.nn.Linear)}
        frozen = [name for name, layer in linear.items() if not any(p.requires_grad for p in layer.parameters())]
        config = LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=_LORA_RANK,
            lora_alpha=_LORA_SCALE,
            target_modules="all-linear",
            exclude_modules=frozen or None,
        )
        with warnings.catch_warnings():
            # peft asks for what transformers has renamed.
            warnings.simplefilter("ignore", FutureWarning)
            self.model = get_peft_model(self.model, config)

    def merge_lora(self, *, keep: bool) -> None:
        """Make the model an ordinary one again after `add_lora`, with what was learnt (`keep`) or as it was."""
        self.model = self.model.merge_and_unload() if keep else self.model.unload()

    def save(self, folder: Path, label_names: Sequence[str]) -> None:
        """Write a folder that `transformers.pipeline("text-classification", folder)` loads."""
        config = self.model.config
        config.id2label = dict(enumerate(label_names))
        config.label2id = {label: index for index, label in enumerate(label_names)}
        self.tokenizer.model_max_length = self.max_tokens
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def _run(self, texts: Sequence[Text]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the head sees of texts `(n, d)`, and their logits `(n, k)`."""
        encoded = self.tokenize(texts)
        self.model.eval()
        head = last_layer(self.model)
        seen, said = (np.empty((len(encoded), width), np.float32) for width in (head.in_features, self.n_classes))
        lengths = np.array([len(one["input_ids"]) for one in encoded], np.int64)
        done = 0
        caught: list[torch.Tensor] = []
        hook = head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
        try:
            with torch.inference_mode():
                for places in batches.plan(lengths, _PREDICTED_TOKENS):
                    batch = self.tokenizer.pad([encoded[place] for place in places], return_tensors="pt")
                    caught.clear()
                    said[places] = self.model(**batch.to(self.model.device)).logits.float().cpu().numpy()
                    seen[places] = caught[0].float().cpu().numpy()
                    done += len(places)
                    if self.on_read:
                        self.on_read(done, len(encoded))
        finally:
            hook.remove()
        return seen, said
