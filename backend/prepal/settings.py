"""All settings, in one table of name, default and help; README and `prepal --help` are made from it."""

import logging
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

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
_UNUSABLE = "unusable"
_SCHEMES = {
    "label_studio_url": ("http", "https"),
    "label_studio_public_url": ("http", "https"),
    "prepal_backend_url": ("http", "https"),
    "redis_url": ("redis", "rediss", "unix"),
}
# Each kind of token is made of these, and what a header carries as Basic auth is read alike by all only in ASCII, where
# the first colon ends the user.
_CHARACTERS = {
    "label_studio_api_key": r"[A-Za-z0-9._~+/=-]",
    "basic_auth_user": r"[ -9;-~]",
    "basic_auth_pass": r"[ -~]",
}


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

    @field_validator(*_SCHEMES)
    @classmethod
    def _is_an_address(cls, value: str, info: ValidationInfo) -> str:
        if value:
            _refuse_no_address(value, _SCHEMES[str(info.field_name)])
        return value

    @field_validator(*_CHARACTERS)
    @classmethod
    def _has_no_strange_character(cls, value: str, info: ValidationInfo) -> str:
        name = str(info.field_name)
        for place, character in enumerate(value, 1):
            if not re.fullmatch(_CHARACTERS[name], character):
                what = {"label_studio_api_key": "token", "basic_auth_user": "user"}.get(name, "password")
                raise _refusal(f"character {place} is {_told(character)}, which no {what} here has: set it anew")
        return value


def load(home: Path | None = None) -> Settings:
    """Read the environment, and for what it does not say the `env` file that `prepal up` leaves in its home.

    The file counts only where it is this user's and closed to all others, and no value of it is mixed with one of the
    environment that it belongs together with.

    Raises:
        PrepalError: a variable has a value that cannot be used, or only half of the credentials are set.
    """
    # A byte order mark begins files that were saved on Windows, and with them the name in their first line.
    said = {name.lstrip("\ufeff").lower(): _bare(value) for name, value in os.environ.items()}
    environment = {name: value for name, value in said.items() if value}
    try:
        settings = Settings.model_validate(environment)
        if home is not None:
            settings = Settings.model_validate({**environment, **_beside(_read(home / "env"), settings)})
    except ValidationError as error:
        found = "; ".join(_problem(**one) for one in error.errors())
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


def _problem(*, type: str, loc: tuple[int | str, ...], msg: str, input: object, **_: object) -> str:
    """What is wrong with a setting, with its value where that is no secret."""
    return f"{str(loc[0]).upper()}{'' if type == _UNUSABLE else f'={input!r}'}: {msg}"


def _bare(value: str) -> str:
    """A value without white space around it, and without quotes, which Compose and Docker take for a part of it."""
    value = value.strip()
    while len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1].strip()
    return value


def _refuse_no_address(url: str, schemes: tuple[str, ...]) -> None:
    """Says what is wrong with an address, and of its parts only those that hold no password."""
    for character in url:
        if character == " " or not character.isprintable():
            raise _refusal(f"it has {_told(character)} in it, which no address has: set it anew")
    scheme, _, rest = url.partition("://")
    if not rest or scheme.lower() not in schemes:
        begins = " or ".join(f"{scheme}://" for scheme in schemes)
        raise _refusal(f"it is to begin with {begins}, as in {schemes[0]}://host.example.com")
    if scheme == "unix":
        return
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    # What cannot be read may be a password.
    hidden = "@" in rest
    if place.count(":") > 1 and "[" not in place and not hidden:
        raise _refusal(f"{place} is an IPv6 address, which needs brackets, as in {scheme}://[::1]:8080")
    try:
        parts = urlsplit(url)
        readable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        readable = False
    if not readable:
        what = "it (in a password / is %2F, # is %23, ? is %3F)" if hidden else repr(place)
        raise _refusal(f"{what} cannot be read: write it as in {scheme}://host.example.com:8080")


def _told(character: str) -> str:
    import unicodedata

    return f"{character!r} ({unicodedata.name(character, 'a control character').lower()})"


def _refusal(why: str) -> PydanticCustomError:
    return PydanticCustomError(_UNUSABLE, "{why}", {"why": why})


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
