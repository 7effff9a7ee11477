"""What tests share: Label Studio real and played, projects, and installations."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
