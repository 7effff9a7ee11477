"""The adapt worker: trains a project's encoder on its labels, and keeps it where that is better."""
