"""All settings, in one table of name, default and help; README and `prepal --help` are made from it."""

import sys
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from prepal.errors import PrepalError

TABLE_BEGIN = "<!-- settings: made by `python -m prepal.settings README.md` -->"
TABLE_END = "<!-- settings end -->"


class Settings(BaseSettings):
    """What the environment says; each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    label_studio_url: str = Field("http://127.0.0.1:8080", description="Where Label Studio answers.")
    label_studio_public_url: str = Field(
        "", description="Where browsers open Label Studio, if that is another address; links on the page lead there."
    )
    label_studio_api_key: str = Field(
        "", description="Token of a Label Studio user who may change the projects; both kinds of token work."
    )
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Redis 6.2 or later, with its append-only file on.")
    basic_auth_user: str = Field("", description="User that Label Studio must name to the backend; empty: none.")
    basic_auth_pass: str = Field("", description="Password of that user.")
    prepal_backend_url: str = Field(
        "http://127.0.0.1:9090",
        description="Where Label Studio reaches the backend, as seen from Label Studio.",
    )
    prepal_vectors: str = Field("prepal-vectors", description="Vector cache: a folder, or s3://bucket/folder.")
    prepal_encoder: str = Field(
        "sentence-transformers/all-MiniLM-L6-v2",
        description="Encoder: a hub name or a local folder; #windows at its end: all of long texts.",
    )
    prepal_strategy: str = Field("auto", description="Strategy that chooses what is labelled next.")
    prepal_audit_fraction: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of tasks that are drawn at random, to estimate the classifier's accuracy.",
    )
    prepal_reconcile_s: int = Field(120, ge=1, description="Seconds between two full comparisons with Label Studio.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="How much is logged.")
    log_format: Literal["text", "json"] = Field("text", description="Log lines as text, or each as a JSON object.")


def load(home: Path | None = None) -> Settings:
    """Read the environment, and for what it does not say the `env` file that `prepal up` leaves in its home.

    Raises:
        PrepalError: a variable has a value that cannot be used.
    """
    try:
        return Settings(_env_file=None if home is None else home / "env")
    except ValidationError as error:
        found = "; ".join(f"{str(e['loc'][0]).upper()}={e['input']!r}: {e['msg']}" for e in error.errors())
        raise PrepalError(f"The environment has settings that cannot be used: {found}.") from error


def table() -> list[tuple[str, str, str]]:
    """Name, default and help of every setting."""
    return [
        (name.upper(), str(field.default), field.description or "") for name, field in Settings.model_fields.items()
    ]


def markdown() -> str:
    """The table as README shows it."""
    rows = [f"| `{name}` | {f'`{default}`' if default else ''} | {text} |" for name, default, text in table()]
    return "\n".join([TABLE_BEGIN, "| setting | default | what it is |", "| --- | --- | --- |", *rows, TABLE_END])


def write_docs(path: Path, *, check: bool) -> bool:
    """Put the table into the file, or, with `check`, only tell whether it is there already."""
    text = path.read_text()
    if TABLE_BEGIN not in text or TABLE_END not in text:
        raise PrepalError(f"{path} has no settings table: add the lines {TABLE_BEGIN!r} and {TABLE_END!r}.")
    before, rest = text.split(TABLE_BEGIN, 1)
    current = before + markdown() + rest.split(TABLE_END, 1)[1]
    if not check:
        path.write_text(current)
    return current == text


if __name__ == "__main__":
    checking = "--check" in sys.argv
    if not write_docs(Path(next(a for a in sys.argv[1:] if a != "--check")), check=checking) and checking:
        sys.exit("The settings table is out of date: run `python -m prepal.settings README.md`.")
