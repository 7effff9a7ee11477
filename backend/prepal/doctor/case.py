"""What the checks look at, each thing fetched once and only when a check asks for it; and what mends it."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import redis

from prepal.doctor.finding import Finding, problem
from prepal.errors import PrepalError
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.connect import connect
from prepal.project import MODEL_VERSION, Project
from prepal.queues import requests
from prepal.queues.waiting import WaitingTexts
from prepal.settings import Settings
from prepal.vectors import encoders

if TYPE_CHECKING:
    import httpx

    from prepal.vectors import VectorTable

_REDIS_TIMEOUT_S = 5
_LABEL_STUDIO_TIMEOUT_S = 15.0
# Label Studio itself gives /health no longer than 1 s.
_BACKEND_TIMEOUT_S = 3.0
# No event has this name, and no number reads like this: Label Studio looks at the address, then refuses the rest.
NO_EVENT, _NO_NUMBER = "PREPAL_DOCTOR", "none"


class NoAnswerError(OSError):
    """Nothing answers at an address; says what happened instead, in one word."""


@dataclass(frozen=True)
class Check:
    """One thing to look at, once all that it needs has turned out well."""

    name: str
    look: Callable[["Case"], Finding]
    needs: tuple[str, ...] = ()


class Case:
    """An installation as its settings describe it, and one of its projects."""

    def __init__(self, settings: Settings, number: int = 0) -> None:
        self.settings = settings
        self.number = number
        self.backend_url = settings.prepal_backend_url.rstrip("/")

    def of(self, number: int) -> "Case":
        """The same installation, with one of its projects."""
        return Case(self.settings, number)

    # -- the installation ---------------------------------------------------------------------------------------

    @cached_property
    def connection(self) -> redis.Redis:
        """Redis."""
        return redis.Redis.from_url(
            self.settings.redis_url, socket_connect_timeout=_REDIS_TIMEOUT_S, socket_timeout=_REDIS_TIMEOUT_S
        )

    @cached_property
    def redis_info(self) -> dict[str, Any]:
        """What Redis tells of itself."""
        info: Any = self.connection.info()
        return dict(info)

    @cached_property
    def version_answer(self) -> "httpx.Response":
        """Label Studio's answer to who it is; needs no token."""
        return _get(f"{self.settings.label_studio_url.rstrip('/')}/api/version", _LABEL_STUDIO_TIMEOUT_S)

    @cached_property
    def label_studio(self) -> LabelStudio:
        """Label Studio, as the token's user."""
        return _label_studio(self.settings.label_studio_url, self.settings.label_studio_api_key)

    @cached_property
    def encoder(self) -> str:
        """What PREPAL_ENCODER means, as far as that can be known."""
        try:
            return encoders.identity(self.settings.prepal_encoder, self.connection)
        except (redis.RedisError, ValueError):
            return encoders.identity(self.settings.prepal_encoder)

    @cached_property
    def table(self) -> "VectorTable":
        """The vector cache."""
        from prepal.vectors import VectorTable

        return VectorTable(self.settings.prepal_vectors, self.encoder)

    @cached_property
    def waiting(self) -> WaitingTexts:
        """The texts that wait for the encoder."""
        return WaitingTexts(self.connection, self.encoder)

    def backend_answer(self, path: str, *, signed_in: bool = False) -> "httpx.Response | None":
        """The backend's answer to this machine, or None when it gives none."""
        settings = self.settings
        login = (settings.basic_auth_user, settings.basic_auth_pass) if signed_in else None
        try:
            return _get(f"{self.backend_url}{path}", _BACKEND_TIMEOUT_S, login)
        except NoAnswerError:
            return None

    # -- the project --------------------------------------------------------------------------------------------

    @cached_property
    def project(self) -> Project:
        """The project as Redis has it."""
        return Project(self.connection, self.number)

    @cached_property
    def described(self) -> dict[str, Any]:
        """The project as Label Studio has it."""
        return self.label_studio.project(self.number)

    @cached_property
    def backends(self) -> list[dict[str, Any]]:
        """The project's ML backends; Label Studio calls each one before it answers."""
        return self.label_studio.backends(self.number)

    @property
    def backend(self) -> dict[str, Any] | None:
        """The one of them that is ours."""
        return next((backend for backend in self.backends if backend["url"].rstrip("/") == self.backend_url), None)

    @cached_property
    def webhooks(self) -> list[dict[str, Any]]:
        """The webhooks that send events to us."""
        hooks = self.label_studio.webhooks(self.number)
        return [hook for hook in hooks if hook["url"].rstrip("/") == f"{self.backend_url}/webhook"]

    @cached_property
    def predictions(self) -> list[dict[str, Any]]:
        """Our predictions in Label Studio."""
        found = self.label_studio.predictions(project=self.number)
        return [row for row in found if row.get("model_version") == MODEL_VERSION]

    @cached_property
    def webhook_refusal(self) -> str:
        """Why Label Studio refuses a webhook of ours whose event does not exist; nothing is stored."""
        fields = {"project": self.number, "url": f"{self.backend_url}/webhook", "actions": [NO_EVENT]}
        return _refusal(lambda: self.label_studio.save_webhook(None, fields))

    @cached_property
    def backend_refusal(self) -> str:
        """Why Label Studio refuses a backend of ours whose time limit is no number; nothing is stored."""
        fields = {"project": self.number, "url": self.backend_url, "timeout": _NO_NUMBER}
        return _refusal(lambda: self.label_studio.save_backend(None, fields))

    # -- what mends it ------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Do what `prepal connect` does."""
        settings = self.settings
        connect(
            self.project,
            self.label_studio,
            settings.prepal_backend_url,
            settings.basic_auth_user,
            settings.basic_auth_pass,
        )
        self.read_again()

    def by_connecting(self, what: str, say: Callable[..., Finding] = problem) -> Finding:
        """What is wrong with the project, where connecting it mends that."""
        return say(what, f"Run `prepal connect {self.number}`, or the doctor with --fix.", self.connect)

    def give_credentials(self) -> None:
        """Tell Label Studio the backend's user and password again."""
        assert self.backend is not None
        fields = {
            "project": self.number,
            "url": self.backend["url"],
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": self.settings.basic_auth_user,
            "basic_auth_pass": self.settings.basic_auth_pass,
        }
        self.label_studio.save_backend(int(self.backend["id"]), fields)

    def read_again(self) -> None:
        """Let the learner compare everything with Label Studio."""
        self._request("reconcile")

    def verify(self) -> None:
        """Let the learner compare the order in Label Studio with what it published."""
        self._request("verify")

    def try_again(self) -> None:
        """Let what fails be tried again at once."""
        self.project.end_trouble()
        self._request("reconcile")
        self.run_round()

    def predict_tail(self) -> None:
        """Let the learner make the predictions that are missing."""
        self._request("tail")

    def run_round(self) -> None:
        """Let a round follow."""
        self._request("round")

    def _request(self, job: str) -> None:
        # A mark without its job, as a lost queue leaves it, would keep the request away, and so would a pause.
        self.connection.delete(requests.mark(job, self.number))
        self.project.end_trouble()
        requests.request(self.connection, job, self.number)


@cache
def _label_studio(url: str, token: str) -> LabelStudio:
    # Every look again, and every project, goes over the same connections.
    return LabelStudio(url, token)


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


def _get(url: str, timeout_s: float, login: tuple[str, str] | None = None) -> "httpx.Response":
    import httpx

    try:
        # A proxy of the user's is for what is outside.
        return httpx.get(url, timeout=timeout_s, auth=login, follow_redirects=True, trust_env=not is_loopback(url))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoAnswerError(type(error).__name__) from error


def _refusal(request: Callable[[], object]) -> str:
    try:
        request()
    except PrepalError as error:
        return str(error)
    return ""
