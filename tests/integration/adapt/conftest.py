"""What adaptations of a test session have in common."""

from tests.helpers.finetuned import encoder, one_thread

__all__ = ["encoder", "one_thread"]
