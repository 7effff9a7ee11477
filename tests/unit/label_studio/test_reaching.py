"""How Label Studio is reached, and what is told where it is not: certificates, proxies, prefixes, addresses."""

import base64
import json
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.helpers import free_port
from tests.helpers.answering import Asked, Server, answering

from prepal.doctor.case import Case
from prepal.doctor.servers import address
from prepal.errors import PrepalError
from prepal.label_studio.api import UnavailableError
from prepal.label_studio.client import LabelStudio
from prepal.settings import Settings

# So does label-studio-sdk when it has refreshed a token.
pytestmark = pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")

HERE = "subjectAltName=DNS:localhost,IP:127.0.0.1"
VERSION = b'{"release": "1.23.2"}'
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", *PROXIES, *map(str.lower, PROXIES)):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def certified(folder: Path, names: str = HERE, days: int = 30) -> Iterator[tuple[Server, Path]]:
    """A server with a certificate that it signed itself, and the file of that certificate."""
    key, request, certificate, extensions = (folder / name for name in ("key.pem", "csr.pem", "cert.pem", "names"))
    extensions.write_text(names)
    made = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=own"]
    subprocess.run(made, check=True, capture_output=True)
    signed = ["openssl", "x509", "-req", "-in", request, "-signkey", key, "-out", certificate, "-days", str(days)]
    subprocess.run([*signed, "-extfile", extensions], check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    with answering(tls) as server:
        server.answer = VERSION
        yield server, certificate


def refusal(url: str) -> str:
    """What a command says, once it is sure that the doctor says the same."""
    client = LabelStudio(url, "a-token")
    with pytest.raises(UnavailableError) as error:
        client.version()
    client.close()
    found = address(Case(Settings(label_studio_url=url)))
    assert found.state == "problem"
    assert f"{found.what[:-1]}: {found.remedy[0].lower()}{found.remedy[1:]}" == str(error.value)
    return str(error.value)


def personal_token() -> str:
    parts = {"alg": "none"}, {"token_type": "refresh", "exp": time.time() + 900}, {}
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def test_a_certificate_of_an_authority_of_ones_own_is_told_and_trusted_once_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with certified(tmp_path) as (server, certificate):
        url = f"https://localhost:{server.port}"
        said = refusal(url)
        assert said.startswith(f"Label Studio at {url} has a certificate that is not trusted here (self-signed")
        assert said.endswith("set SSL_CERT_FILE to a file with the certificate of the authority that signed it.")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert address(Case(Settings(label_studio_url=url))).state == "ok"
        client = LabelStudio(url, "a-token")
        assert client.version() == "1.23.2"
        client.close()


def test_a_certificate_that_ssl_cert_file_does_not_have_names_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    with certified(tmp_path / "other") as (_, another), certified(tmp_path) as (server, _):
        monkeypatch.setenv("SSL_CERT_FILE", str(another))
        assert f"not trusted by SSL_CERT_FILE={another}" in refusal(f"https://localhost:{server.port}")


@pytest.mark.parametrize(
    ("names", "days", "what"),
    [
        ("subjectAltName=DNS:labels.example.com", 30, "has a certificate of another name"),
        (HERE, -1, "has a certificate that does not hold today (certificate has expired): renew it"),
    ],
)
def test_a_certificate_of_another_name_or_day_is_not_called_untrusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str, days: int, what: str
) -> None:
    with certified(tmp_path, names, days) as (server, certificate):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        said = refusal(f"https://localhost:{server.port}")
    assert what in said
    assert "SSL_CERT_FILE" not in said


@pytest.mark.parametrize("content", [None, "no certificate"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://labels.example.com"])
def test_a_file_without_certificates_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, url: str
) -> None:
    file = tmp_path / "authority.pem"
    if content:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(PrepalError, match=r"SSL_CERT_FILE is .*authority\.pem, which cannot be read as certificates"):
        LabelStudio(url, "a-token")


def test_tls_to_what_speaks_plain_http_is_told() -> None:
    with answering() as server:
        assert "begin LABEL_STUDIO_URL with http://" in refusal(f"https://127.0.0.1:{server.port}")


def test_a_name_without_an_address_is_told() -> None:
    assert "nowhere.invalid has no address that is known here" in refusal("http://nowhere.invalid")


@pytest.mark.parametrize("prefix", ["", "/label-studio", "/a/b"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_personal_token_is_refreshed_under_the_prefix_of_a_path(prefix: str, slash: str) -> None:
    def label_studio(asked: Asked) -> tuple[int, bytes]:
        if not asked.path.startswith(f"{prefix}/api/"):
            return 404, b"<html>Not Found</html>"
        if asked.path == f"{prefix}/api/token/refresh/":
            return 200, json.dumps({"access": personal_token()}).encode()
        return (200, VERSION) if asked.authorization.startswith("Bearer ") else (401, b"{}")

    with answering() as server:
        server.decide = label_studio
        client = LabelStudio(f"http://127.0.0.1:{server.port}{prefix}{slash}", personal_token())
        assert client.version() == "1.23.2"
        client.close()


def test_the_refresh_of_a_personal_token_goes_by_the_same_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with certified(tmp_path) as (server, certificate):
        server.decide = lambda asked: (
            (200, json.dumps({"access": personal_token()}).encode()) if "refresh" in asked.path else None
        )
        url = f"https://localhost:{server.port}"
        client = LabelStudio(url, personal_token())
        with pytest.raises(UnavailableError, match="set SSL_CERT_FILE"):
            client.version()
        client.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        client = LabelStudio(url, personal_token())
        assert client.version() == "1.23.2"
        client.close()


def test_a_page_where_a_personal_token_is_to_be_refreshed_is_told() -> None:
    with answering() as server:
        server.answer = b"<html>Sign in</html>"
        client = LabelStudio(f"http://127.0.0.1:{server.port}", personal_token())
        with pytest.raises(UnavailableError, match=r"POST api/token/refresh/ is not JSON of Label Studio's"):
            client.version()
        client.close()


def test_what_is_on_this_machine_is_asked_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with answering() as server:
        server.answer = VERSION
        for host in ("127.0.0.1", "localhost"):
            client = LabelStudio(f"http://{host}:{server.port}", "a-token")
            assert client.version() == "1.23.2"
            client.close()


@pytest.mark.parametrize(("status", "answer"), [(503, b"<html>no way</html>"), (200, b"<html>Sign in</html>")])
def test_a_proxy_that_is_in_the_way_is_named_and_no_proxy_with_the_host(
    monkeypatch: pytest.MonkeyPatch, status: int, answer: bytes
) -> None:
    with answering() as proxy:
        proxy.status, proxy.answer = status, answer
        monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
        client = LabelStudio("http://labels.internal:8080", "a-token")
        with pytest.raises(UnavailableError) as error:
            client.update_project(1, title="x")
        client.close()
        found = address(Case(Settings(label_studio_url="http://labels.internal:8080")))
    for said in (str(error.value), found.what):
        assert f"through the proxy http://127.0.0.1:{proxy.port} (NO_PROXY=labels.internal" in said
        assert "secret" not in said


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    assert f"through the proxy http://127.0.0.1:{port}" in refusal("https://labels.example.com")


def test_a_proxy_that_is_no_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "gopher://proxy")
    with pytest.raises(PrepalError, match="A proxy of the environment cannot be used"):
        LabelStudio("https://labels.example.com", "a-token")


def test_a_name_with_an_underscore_that_label_studio_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering() as server:
        server.status, server.answer = 400, b"<html>Bad Request</html>"
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
        client = LabelStudio("http://label_studio:8080", "a-token")
        with pytest.raises(PrepalError, match="refuses to be called 'label_studio', because of the underscore"):
            client.version()
        client.close()
        found = address(Case(Settings(label_studio_url="http://label_studio:8080")))
        assert "refuses to be called 'label_studio'" in found.what
