"""What an encoder wants to read before each text."""

import re

from sentence_transformers import SentenceTransformer

# Encoders whose makers ask for a prompt in the model card alone, and what they ask for where vectors are features.
_BY_NAME = (
    (re.compile(r"(^|[/_-])e5-(small|base|large)(?!.*instruct)", re.IGNORECASE), "query: "),
    (re.compile(r"(^|/)nomic-embed-text-v1", re.IGNORECASE), "classification: "),
)
# Of a model's own prompts, the one for what vectors are used for here.
_BY_PURPOSE = ("classification", "clustering")


def prompt_of(model: SentenceTransformer, name: str) -> str | None:
    """The prompt of an encoder: its default, else its own for classification, else what its makers ask for.

    Args:
        model: the encoder.
        name: on the hub, or folder.
    """
    prompts: dict[str, str] = {key.lower(): value for key, value in (model.prompts or {}).items() if value}
    if model.default_prompt_name:
        return prompts.get(model.default_prompt_name.lower())
    for purpose in _BY_PURPOSE:
        if purpose in prompts:
            return prompts[purpose]
    return next((prompt for pattern, prompt in _BY_NAME if pattern.search(name)), None)
