"""How a server is reached, through proxies and with certificates, and what is in the way where it is not."""

import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from prepal.errors import PrepalError, cause

if TYPE_CHECKING:
    import httpx

# OpenSSL's numbers: a certificate is not valid yet, or no more; it is of another name, or of another address.
_NOT_NOW, _OTHER_NAME = (9, 10), (62, 64)


class Hindrance(NamedTuple):
    """Why Label Studio does not answer, and what to do, each as a clause without its full stop."""

    what: str
    remedy: str


def client(url: str, timeout_s: float, login: tuple[str, str] | None = None) -> "httpx.Client":
    """A client for a server; it goes by HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE, and on this machine by no proxy.

    Raises:
        PrepalError: the environment names no certificates or no proxy there.
    """
    import httpx

    direct = {"http://": None, "https://": None} if is_loopback(url) else None
    try:
        return httpx.Client(timeout=timeout_s, auth=login, follow_redirects=True, mounts=direct)
    except OSError as error:
        name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        raise PrepalError(
            f"{name} is {os.environ.get(name)}, which cannot be read as certificates ({cause(error)}): set it to where "
            "the certificates of your authority are, in PEM form."
        ) from error
    except (ValueError, httpx.InvalidURL) as error:
        raise PrepalError(
            f"A proxy of the environment cannot be used ({cause(error)}): set HTTP_PROXY and HTTPS_PROXY to addresses "
            "such as http://proxy.example.com:3128, and NO_PROXY to names."
        ) from error


def hindrance(url: str, error: Exception) -> Hindrance:
    """What is in the way of an address, by what a request to it ended with."""
    found = next(filter(None, map(_known, _causes(error))), None) or Hindrance(
        f"does not answer ({type(error).__name__})", "check LABEL_STUDIO_URL and that it runs"
    )
    return Hindrance(f"Label Studio at {without_login(url)} {found.what}{by_proxy(url)}", found.remedy)


def odd_name(url: str, status: int) -> Hindrance | None:
    """Django's refusal of a name that no host may have, as those of containers often are."""
    host = urlsplit(url).hostname or ""
    if status != 400 or "_" not in host:
        return None
    return Hindrance(
        f"Label Studio at {without_login(url)} refuses to be called {host!r}, because of the underscore",
        "give it a name without one, and set LABEL_STUDIO_URL",
    )


def by_proxy(url: str) -> str:
    """Says through which proxy of the environment an address is asked, if through one."""
    parts, proxies = urlsplit(url), getproxies()
    host = parts.hostname or ""
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or is_loopback(url) or proxy_bypass(host):
        return ""
    return f", asked through the proxy {without_login(proxy)} (NO_PROXY={host} would ask it directly)"


def without_login(url: str) -> str:
    """An address as it may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_loopback(url: str) -> bool:
    """Whether an address is this very machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _known(error: BaseException) -> Hindrance | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error)
    if isinstance(error, ssl.SSLError):
        return Hindrance(
            f"does not speak TLS as this machine does ({cause(error)})",
            "begin LABEL_STUDIO_URL with http:// if it speaks plain HTTP there",
        )
    if isinstance(error, socket.gaierror):
        return Hindrance(f"has no address that is known here ({error.strerror})", "check the name in LABEL_STUDIO_URL")
    return None


def _certificate(error: ssl.SSLCertVerificationError) -> Hindrance:
    said = error.verify_message.rstrip(".")
    if error.verify_code in _NOT_NOW:
        return Hindrance(f"has a certificate that does not hold today ({said})", "renew it, or set the clock here")
    if error.verify_code in _OTHER_NAME:
        return Hindrance(
            f"has a certificate of another name ({said})", "use in LABEL_STUDIO_URL a name that the certificate has"
        )
    used = os.environ.get("SSL_CERT_FILE")
    return Hindrance(
        f"has a certificate that is not trusted {f'by SSL_CERT_FILE={used}' if used else 'here'} ({said})",
        "set SSL_CERT_FILE to a file with the certificate of the authority that signed it",
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
