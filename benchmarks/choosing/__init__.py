"""Choosing what to label: our strategies beside scikit-activeml's and small-text's, in accuracy, time and memory."""
