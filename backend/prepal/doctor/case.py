"""What a check says, and what it looks at, each thing fetched once and only when a check asks for it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import redis

from prepal import vectors
from prepal.errors import PrepalError
from prepal.label_studio import reaching
from prepal.label_studio.api import TooLargeError
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.connect import connect
from prepal.project import MODEL_VERSION, Project
from prepal.queues import requests
from prepal.queues.waiting import WaitingTexts
from prepal.settings import Settings
from prepal.vectors import encoders

if TYPE_CHECKING:
    import httpx

_REDIS_TIMEOUT_S = 5
_LABEL_STUDIO_TIMEOUT_S = 15.0
# Label Studio itself gives /health no longer than 1 s.
_BACKEND_TIMEOUT_S = 3.0
# No event has this name, and no number reads like this: Label Studio looks at the address, then refuses the rest.
NO_EVENT, _NO_NUMBER = "PREPAL_DOCTOR", "none"
# Every look again, and every project, goes over the same connections.
_label_studio = cache(LabelStudio)

State = Literal["ok", "warning", "problem", "skipped"]


class NoAnswerError(Exception):
    """Nothing answers at an address; says what is in the way."""

    def __init__(self, hindrance: reaching.Hindrance) -> None:
        super().__init__(hindrance.what)
        self.hindrance = hindrance


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    state: State
    what: str
    """One sentence on how it is."""
    remedy: str = ""
    """One sentence on what to do about it."""
    fix: Callable[[], object] | None = None
    """Does it, where that is safe."""
    name: str = ""
    project: int | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether anything is to be done."""
        return self.state in ("warning", "problem")


def ok(what: str) -> Finding:
    """All is as it should be."""
    return Finding("ok", what)


def warning(what: str, remedy: str, fix: Callable[[], object] | None = None) -> Finding:
    """Work goes on, though not as well as it could."""
    return Finding("warning", what, remedy, fix)


def problem(what: str, remedy: str, fix: Callable[[], object] | None = None) -> Finding:
    """Active learning does not work, or labels may be lost."""
    return Finding("problem", what, remedy, fix)


def skipped(why: str) -> Finding:
    """It could not be looked at."""
    return Finding("skipped", why)


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
        self.login = settings.basic_auth_user, settings.basic_auth_pass
        # Remedies: what the learner is asked for. It compares everything with Label Studio, or the order there with
        # what it published, or makes the predictions that are missing, or runs a round.
        self.read_again = partial(self._request, "reconcile")
        self.verify = partial(self._request, "verify")
        self.predict_tail = partial(self._request, "tail")
        self.run_round = partial(self._request, "round")

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
        return _get(self.settings.label_studio_url.rstrip("/"), "/api/version", _LABEL_STUDIO_TIMEOUT_S)

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
    def table(self) -> "vectors.VectorTable":
        """The vector cache."""
        return vectors.VectorTable(self.settings.prepal_vectors, self.encoder)

    @cached_property
    def waiting(self) -> WaitingTexts:
        """The texts that wait for the encoder."""
        return WaitingTexts(self.connection, self.encoder)

    def backend_answer(self, path: str, *, signed_in: bool = False) -> "httpx.Response | None":
        """The backend's answer to this machine, or None when it gives none."""
        try:
            return _get(self.backend_url, path, _BACKEND_TIMEOUT_S, self.login if signed_in else None)
        except NoAnswerError:
            return None

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

    @property
    def active_webhooks(self) -> list[dict[str, Any]]:
        """Those of them that are switched on."""
        return [hook for hook in self.webhooks if hook["is_active"]]

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

    def passes(self, size: int) -> bool:
        """Whether what is in front of Label Studio lets a request of so many bytes through; nothing is stored."""
        fields = {"project": self.number, "url": f"{self.backend_url}/webhook", "actions": [NO_EVENT], "_": " " * size}
        try:
            self.label_studio.save_webhook(None, fields)
        except TooLargeError:
            return False
        except PrepalError:
            # Label Studio itself refused it.
            pass
        return True

    def connect(self) -> None:
        """Do what `prepal connect` does."""
        connect(self.project, self.label_studio, self.backend_url, *self.login)
        self.read_again()

    def by_connecting(self, what: str, say: Callable[..., Finding] = problem) -> Finding:
        """What is wrong with the project, where connecting it mends that."""
        return say(what, f"Run `prepal connect {self.number}`, or the doctor with --fix.", self.connect)

    def give_credentials(self) -> None:
        """Tell Label Studio the backend's user and password again."""
        assert self.backend is not None
        user, password = self.login
        login = {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
        fields = {"project": self.number, "url": self.backend["url"], **login}
        self.label_studio.save_backend(int(self.backend["id"]), fields)

    def try_again(self) -> None:
        """Let what fails be tried again at once."""
        self.read_again()
        self.run_round()

    def _request(self, job: str) -> None:
        # A mark without its job, as a lost queue leaves it, would keep the request away, and so would a pause.
        self.connection.delete(requests.mark(job, self.number))
        self.project.end_trouble()
        requests.request(self.connection, job, self.number)


def _get(url: str, path: str, timeout_s: float, login: tuple[str, str] | None = None) -> "httpx.Response":
    import httpx

    try:
        with reaching.client(url, timeout_s, login) as client:
            return client.get(f"{url}{path}")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoAnswerError(reaching.hindrance(url, error)) from error


def _refusal(request: Callable[[], object]) -> str:
    try:
        request()
    except PrepalError as error:
        return str(error)
    return ""
