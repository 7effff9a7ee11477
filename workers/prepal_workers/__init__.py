"""The heavy commands: embedding and everything else that needs torch or transformers."""
