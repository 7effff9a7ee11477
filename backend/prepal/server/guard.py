"""Which requests are looked at: those of whoever is known, and of no web page from elsewhere.

A browser lets any page send requests to this machine in its user's name. It says with each where the page is from
(`Origin`, `Sec-Fetch-Site`), and asks first before it sends JSON. What it does not tell is a page whose name was made
to lead here after it was loaded (DNS rebinding): that one has no credentials, and, where none are asked for, a name in
`Host` that is not ours.
"""

import hmac
import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Request, request
from werkzeug.exceptions import HTTPException

from prepal.settings import Settings, credentials

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="PRepAL"'}


class Refusal(HTTPException):
    """A request that is not looked at, and why, in one sentence; Label Studio shows it when it is the status line."""

    def __init__(self, code: int, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(why)
        self.code = code
        self.headers = headers or {}


def check(settings: Settings) -> Callable[[], None]:
    """What is to be called before each request; it raises Refusal.

    Raises:
        PrepalError: only half of the credentials are set.
    """
    login = credentials(settings)
    own = _name(_place(settings.prepal_backend_url))

    def refuse_others() -> None:
        if request.method == "POST":
            _refuse_foreign_pages(request)
        # Label Studio, Docker and whoever watches ask whether we are alive, which is no secret.
        if request.path != "/health":
            if login:
                _refuse_strangers(request, *login)
            else:
                _refuse_other_names(request, own)
        if request.method == "POST" and request.mimetype != "application/json":
            raise Refusal(415, f"The content type is {request.mimetype!r}: send application/json.")

    return refuse_others


def _refuse_foreign_pages(request: Request) -> None:
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "none")
    if site not in ("same-origin", "none") or (origin is not None and _place(origin) != request.host.lower()):
        raise Refusal(403, f"A web page of {origin or 'another site':.100} may not send anything here.")


def _refuse_strangers(request: Request, user: str, password: str) -> None:
    given = request.authorization
    said = (given.username or "", given.password or "") if given else ("", "")
    if not hmac.compare_digest("\0".join(said).encode("utf-8", "surrogatepass"), f"{user}\0{password}".encode()):
        raise Refusal(
            401,
            "Sign in with BASIC_AUTH_USER and BASIC_AUTH_PASS of the backend: `prepal up` shows its own when it starts "
            "and keeps them in the file `env` of its home.",
            _CHALLENGE,
        )


def _refuse_other_names(request: Request, own: str) -> None:
    name = _name(request.host)
    if name != own and not _cannot_be_rebound(name):
        raise Refusal(
            403,
            f"Nobody is asked for a password here, so requests to {name} are refused: set BASIC_AUTH_USER and "
            "BASIC_AUTH_PASS, or PREPAL_BACKEND_URL to this address.",
        )


def _cannot_be_rebound(name: str) -> bool:
    """Addresses, `localhost` and names without a dot are nobody's to point elsewhere."""
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return "." not in name


def _place(url: str) -> str:
    """Host and port of a URL."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _name(host: str) -> str:
    """The host without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return host
