"""Where settings come from: the environment, and the file of `prepal up` where it can be trusted."""

import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.helpers import ROOT

from prepal import private
from prepal.errors import PrepalError
from prepal.settings import Settings, load

GROUPS = (
    ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"),
    ("PREPAL_BACKEND_URL", "BASIC_AUTH_USER", "BASIC_AUTH_PASS"),
    ("REDIS_URL",),
    ("PREPAL_VECTORS",),
)
NAMES = [name for group in GROUPS for name in group]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """As `prepal up` leaves it."""
    folder = tmp_path / "home"
    private.make_folder(folder)
    write_env(folder, LABEL_STUDIO_URL="http://file.example", LABEL_STUDIO_API_KEY="token-of-the-file")
    return folder


def write_env(home: Path, **values: str) -> None:
    private.write(home / "env", "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))


def test_the_file_says_what_the_environment_does_not(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://environment.example:6379/0")
    settings = load(home)
    assert settings.label_studio_api_key == "token-of-the-file"
    assert settings.redis_url == "redis://environment.example:6379/0"
    assert load(home.with_name("missing")).label_studio_api_key == ""


def test_a_token_of_the_environment_never_goes_to_an_address_of_the_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "my-token")
    settings = load(home)
    assert settings.label_studio_api_key == "my-token"
    assert settings.label_studio_url == Settings.model_fields["label_studio_url"].default


ANYTHING = ["one", "other/", "it's $HOME \\ #x"]
SAID = {
    **{name: ["http://one", "http://other/", "https://it's-$HOME\\:1/#x"] for name in NAMES if name.endswith("_URL")},
    "REDIS_URL": ["redis://one", "redis://:it's$HOME@other/0"],
    "LABEL_STUDIO_API_KEY": ["one", "an.other/"],
}
values = st.fixed_dictionaries({}, optional={name: st.sampled_from(SAID.get(name, ANYTHING)) for name in NAMES})


@given(in_file=values, in_environment=values)
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_values_that_belong_together_come_from_one_source(
    home: Path, in_file: dict[str, str], in_environment: dict[str, str]
) -> None:
    write_env(home, **in_file)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in in_environment.items():
            environment.setenv(name, value)
        try:
            settings = load(home)
        except PrepalError:
            # Only half of the credentials are there, which another test is about.
            return
    for group in GROUPS:
        got = {n: getattr(settings, n.lower()) for n in group if n.lower() in settings.model_fields_set}
        sources = [{n: source[n] for n in group if n in source} for source in (in_file, in_environment)]
        equal = all(sources[0].get(n) == value for n, value in sources[1].items())
        assert got == (sources[0] | sources[1] if equal else sources[1])


@pytest.mark.parametrize(
    ("folder_mode", "file_mode"), [(0o755, 0o600), (0o700, 0o644), (0o770, 0o600), (0o700, 0o660), (0o755, 0o644)]
)
def test_a_file_that_others_may_have_written_is_told_and_not_used(
    home: Path, caplog: pytest.LogCaptureFixture, folder_mode: int, file_mode: int
) -> None:
    (home / "env").chmod(file_mode)
    home.chmod(folder_mode)
    with caplog.at_level(logging.WARNING):
        assert load(home).label_studio_api_key == ""
    assert f"the settings in {home / 'env'} are not used, because others may use {home}" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("given_away", ["home", "home/env"])
def test_a_file_of_somebody_else_is_told_and_not_used(
    home: Path, caplog: pytest.LogCaptureFixture, given_away: str
) -> None:
    os.chown(home.parent / given_away, 65_534, -1)
    with caplog.at_level(logging.WARNING):
        assert load(home).label_studio_api_key == ""
    assert "belongs to the user nobody" in caplog.text


def test_a_link_to_a_file_is_not_used(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = home.with_name("elsewhere")
    (home / "env").rename(elsewhere)
    (home / "env").symlink_to(elsewhere)
    assert load(home).label_studio_api_key == ""
    assert "are not used" in caplog.text


def test_a_file_that_is_not_understood_is_named_with_the_remedy(home: Path) -> None:
    private.write(home / "env", "LABEL_STUDIO_API_KEY='no end\n")
    with pytest.raises(PrepalError, match=r"env cannot be read .*: start `prepal up` again"):
        load(home)


@pytest.mark.parametrize(("there", "lacking"), [("USER", "PASS"), ("PASS", "USER")])
def test_half_of_the_credentials_are_refused(monkeypatch: pytest.MonkeyPatch, there: str, lacking: str) -> None:
    monkeypatch.setenv(f"BASIC_AUTH_{there}", "something")
    with pytest.raises(PrepalError, match=f"BASIC_AUTH_{there} is set and BASIC_AUTH_{lacking} is not"):
        load()


@pytest.mark.parametrize(
    "command",
    ["up", "demo", "serve", "worker learn", "worker embed", "connect 1", "doctor", "status 1", "export 1 --out x"],
)
def test_no_command_begins_with_half_of_the_credentials(command: str) -> None:
    environment = {**os.environ, "BASIC_AUTH_USER": "lead"}
    done = subprocess.run(
        [sys.executable, "-m", "prepal.cli", *command.split()],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "BASIC_AUTH_USER is set and BASIC_AUTH_PASS is not" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_server_of_label_studio_ml_does_not_begin_with_half_of_them_either() -> None:
    wsgi = ROOT / "backend" / "_wsgi.py"
    environment = {**os.environ, "BASIC_AUTH_PASS": "secret"}
    done = subprocess.run([sys.executable, wsgi], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("BASIC_AUTH_PASS is set and BASIC_AUTH_USER is not")


AROUND = ["", " ", "\t", "\n", "\r", "\r\n", "'", '"', "'\r\n", ' "', "'\"", "\u00a0"]
SETTINGS = {
    "LABEL_STUDIO_URL": "https://labels.example.com/team",
    "LABEL_STUDIO_PUBLIC_URL": "http://[2001:db8::7]:8080",
    "LABEL_STUDIO_API_KEY": "0f3a-b.c_d",
    "REDIS_URL": "redis://:it's%20secret@redis:6379/0",
    "PREPAL_BACKEND_URL": "http://backend.internal:9090",
    "PREPAL_VECTORS": "s3://a bucket/folder",
    "PREPAL_RECONCILE_S": "77",
    "LOG_LEVEL": "DEBUG",
    "PREPAL_ADAPT": "off",
}


@pytest.mark.parametrize("name", SETTINGS)
@given(before=st.sampled_from(AROUND), after=st.sampled_from(AROUND))
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_compose_and_windows_leave_around_a_value_is_no_part_of_it(name: str, before: str, after: str) -> None:
    quotes = "".join(one for one in before if one in "'\"")
    blanks = "".join(one for one in after if one not in "'\"")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(name, f"{before}{SETTINGS[name]}{quotes[::-1]}{blanks}")
        assert str(getattr(load(), name.lower())) == SETTINGS[name]


def test_credentials_lose_what_is_around_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASIC_AUTH_USER", "'lead'\r")
    monkeypatch.setenv("BASIC_AUTH_PASS", '"two words\'"\r\n')
    settings = load()
    assert (settings.basic_auth_user, settings.basic_auth_pass) == ("lead", "two words'")


def test_a_byte_order_mark_is_no_part_of_the_first_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("\ufeffLABEL_STUDIO_API_KEY", "abc")
    assert load().label_studio_api_key == "abc"


@pytest.mark.parametrize(
    ("name", "character", "told"),
    [
        ("LABEL_STUDIO_API_KEY", " ", "space), which no token here has"),
        ("LABEL_STUDIO_API_KEY", "\r", "a control character), which no token"),
        ("LABEL_STUDIO_API_KEY", "\u201c", "left double quotation mark), which no token"),
        ("LABEL_STUDIO_API_KEY", "'", "apostrophe), which no token"),
        ("BASIC_AUTH_USER", ":", "colon), which no user"),
        ("BASIC_AUTH_PASS", "\u00e9", "latin small letter e with acute), which no password"),
        ("BASIC_AUTH_PASS", "\n", "a control character), which no password"),
    ],
)
def test_a_character_that_cannot_be_is_named_and_the_rest_is_kept_secret(
    monkeypatch: pytest.MonkeyPatch, name: str, character: str, told: str
) -> None:
    monkeypatch.setenv(name, f"secret{character}rest")
    with pytest.raises(PrepalError) as error:
        load()
    assert f"{name}: character 7 is {character!r} ({told}" in str(error.value)
    assert "secret" not in str(error.value)
    assert "rest" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "url", "told"),
    [
        ("LABEL_STUDIO_URL", "labels.example.com:8080", "begin with http:// or https://"),
        ("PREPAL_BACKEND_URL", "htps://a.example.com", "begin with http:// or https://"),
        ("REDIS_URL", "http://:hidden@a.example.com", "begin with redis:// or rediss:// or unix://"),
        ("LABEL_STUDIO_URL", "http://2001:db8::7:8080", "an IPv6 address, which needs brackets"),
        ("LABEL_STUDIO_PUBLIC_URL", "https://a b.example.com", "has ' ' (space) in it"),
        ("LABEL_STUDIO_URL", "https://a.example.com\u200b", "(zero width space) in it"),
        ("LABEL_STUDIO_URL", "http://a.example.com:80 80", "(space) in it"),
        ("LABEL_STUDIO_URL", "http://a.example.com:99999", "'a.example.com:99999' cannot be read"),
        ("LABEL_STUDIO_URL", "http://", "begin with http://"),
        ("PREPAL_BACKEND_URL", "http://:9090", "':9090' cannot be read"),
        (
            "REDIS_URL",
            "redis://:hid/den@redis:6379/0",
            "(in a password / is %2F, # is %23, ? is %3F) cannot",
        ),
        (
            "REDIS_URL",
            "redis://me:hid#den@redis:6379/0",
            "(in a password / is %2F, # is %23, ? is %3F) cannot",
        ),
    ],
)
def test_an_address_that_is_none_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str, told: str
) -> None:
    monkeypatch.setenv(name, url)
    with pytest.raises(PrepalError) as error:
        load()
    assert str(error.value).startswith(f"The environment has settings that cannot be used: {name}: ")
    assert told in str(error.value)
    assert "hid" not in str(error.value)


def test_a_folder_is_closed_to_others_whatever_it_was(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    private.make_folder(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("given_away", ["home", "home/state.json"])
def test_a_folder_with_anything_of_somebody_else_is_refused(tmp_path: Path, given_away: str) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "state.json").touch()
    os.chown(tmp_path / given_away, 65_534, -1)
    with pytest.raises(PrepalError, match=f"{given_away} belongs to the user nobody: choose another --home"):
        private.make_folder(folder)


def test_what_is_written_is_private_whatever_lay_there(tmp_path: Path) -> None:
    file, left_over = tmp_path / "state.json", tmp_path / "state.json.partial"
    other = tmp_path / "other"
    left_over.symlink_to(other)
    private.write(file, "secret")
    assert file.read_text() == "secret"
    assert file.stat().st_mode & 0o077 == 0
    assert not other.exists()
