"""Export → final model → labels for the rest."""
