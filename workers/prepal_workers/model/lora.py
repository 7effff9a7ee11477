"""Trains a few numbers beside a large model's frozen ones, which are added to these in the end: LoRA, by peft."""

import warnings
from typing import TYPE_CHECKING, Any, cast

from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import nn

if TYPE_CHECKING:
    from prepal_workers.model.sequence_model import SequenceModel

# As wide as is usual; doubling the scale goes with it.
_RANK, _SCALE = 16, 32


def add_lora(model: "SequenceModel") -> None:
    """Freeze the model, and put trainable low-rank matrices beside its linear layers; the head stays trainable.

    Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (2021).
    """
    frozen = [name for name, module in model.model.named_modules() if _is_frozen(module)]
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=_RANK,
        lora_alpha=_SCALE,
        target_modules="all-linear",
        exclude_modules=frozen or None,
    )
    with warnings.catch_warnings():
        # peft asks for what transformers has renamed.
        warnings.simplefilter("ignore", FutureWarning)
        model.model = get_peft_model(model.model, config)


def merge_lora(model: "SequenceModel", *, keep: bool) -> None:
    """Make the model an ordinary one again, with what was learnt (`keep`) or as it was."""
    if not isinstance(model.model, PeftModel):
        return
    adapted = cast(Any, model.model)
    model.model = adapted.merge_and_unload() if keep else adapted.unload()


def _is_frozen(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) and not any(p.requires_grad for p in module.parameters())
