"""The live loop: whole projects that its own code labels and judges."""
