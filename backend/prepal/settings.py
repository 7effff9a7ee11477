"""All settings, in one table of name, default and help; README and `prepal --help` are made from it."""

import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from prepal import private
from prepal.errors import PrepalError

# pydantic would read what every installed package says of itself, in search of plugins that nothing here has.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

log = logging.getLogger(__name__)

TABLE_BEGIN = "<!-- settings: made by `python -m prepal.settings README.md` -->"
TABLE_END = "<!-- settings end -->"
# Values that belong together: a token or a password goes to the address that it was given with, and to no other.
_TOGETHER = (
    frozenset({"label_studio_url", "label_studio_api_key"}),
    frozenset({"prepal_backend_url", "basic_auth_user", "basic_auth_pass"}),
)


class Settings(BaseModel):
    """What the environment says; each field is the environment variable of the same name in capitals."""

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
    prepal_adapt: Literal["auto", "off"] = Field(
        "auto", description="Whether `prepal worker adapt` trains each project's encoder on its labels: auto, or off."
    )
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

    The file counts only where it is this user's and closed to all others, and no value of it is mixed with one of the
    environment that it belongs together with.

    Raises:
        PrepalError: a variable has a value that cannot be used, or only half of the credentials are set.
    """
    environment = {name.lower(): value for name, value in os.environ.items() if value}
    try:
        settings = Settings.model_validate(environment)
        if home is not None:
            settings = Settings.model_validate({**environment, **_beside(_read(home / "env"), settings)})
    except ValidationError as error:
        found = "; ".join(f"{str(e['loc'][0]).upper()}={e['input']!r}: {e['msg']}" for e in error.errors())
        raise PrepalError(f"The environment has settings that cannot be used: {found}.") from error
    credentials(settings)
    return settings


def credentials(settings: Settings) -> tuple[str, str] | None:
    """User and password that the backend asks for; None where it asks nobody.

    Raises:
        PrepalError: one of the two is set without the other.
    """
    user, password = settings.basic_auth_user, settings.basic_auth_pass
    if bool(user) != bool(password):
        there, lacking = ("USER", "PASS") if user else ("PASS", "USER")
        raise PrepalError(
            f"BASIC_AUTH_{there} is set and BASIC_AUTH_{lacking} is not, so nobody would be asked for a password: "
            "set both, or neither."
        )
    return (user, password) if user else None


def _read(path: Path) -> dict[str, str]:
    """The settings in a file of lines `NAME=value`, quoted as a shell does; none where it may be somebody else's."""
    try:
        if doubt := private.doubt(path):
            log.warning(
                "the settings in %s are not used, because %s: `prepal up` writes that file for you alone; delete it "
                "where it is not yours",
                *(path, doubt),
            )
            return {}
        words = shlex.split(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise PrepalError(f"{path} cannot be read ({error}): start `prepal up` again, which writes it.") from error
    pairs = (word.partition("=") for word in words)
    return {name.lower(): value for name, _, value in pairs if value and name.lower() in Settings.model_fields}


def _beside(file: dict[str, str], environment: Settings) -> dict[str, str]:
    """What a file says beside the environment: of values that belong together all, or, where one differs, none."""
    said = {name: str(getattr(environment, name)) for name in environment.model_fields_set}

    def agrees(name: str) -> bool:
        return name not in said or said[name].rstrip("/") == file.get(name, "").rstrip("/")

    group_of = {name: group for group in _TOGETHER for name in group}
    return {
        name: value for name, value in file.items() if name not in said and all(map(agrees, group_of.get(name, {name})))
    }


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
