"""Fine-tunes a model on labelled texts."""
