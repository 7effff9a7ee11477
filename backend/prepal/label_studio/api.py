"""Requests to Label Studio's API, and what goes wrong with them, in sentences."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prepal import records
from prepal.errors import PrepalError
from prepal.label_studio import reaching

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 60.0
_JSON = {"content-type": "application/json"}


class NotFoundError(PrepalError):
    """Label Studio itself says that it does not have (any more) what was asked for."""


class UnavailableError(PrepalError):
    """Label Studio does not answer, or something in front of it does; it is worth trying again soon."""


class TooLargeError(PrepalError):
    """What was sent is more than something in front of Label Studio lets through; less of it may pass."""


class Api:
    """Label Studio's HTTP API, as one user; safe to use from several threads."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        if not token:
            raise PrepalError(
                "LABEL_STUDIO_API_KEY is empty: set it to a token from Label Studio's Account & Settings page."
            )
        # It takes seconds on a busy machine, which commands that only name what is wrong need not wait for.
        from label_studio_sdk.client import LabelStudio as Sdk
        from label_studio_sdk.core.api_error import ApiError

        # The SDK refreshes a personal token at what comes after the last slash.
        options: dict[str, Any] = {"base_url": f"{self.url}/", "api_key": token, "timeout": TIMEOUT_S}
        try:
            sdk: Any = Sdk(**options, httpx_client=reaching.client(self.url, TIMEOUT_S))  # type: ignore[no-untyped-call]
            self._http = sdk._client_wrapper.httpx_client
        except ApiError as error:
            raise PrepalError(
                f"Label Studio's token cannot be used ({_detail(error.body)}): make a new one."
            ) from error

    def close(self) -> None:
        """Let go of all connections."""
        self._http.httpx_client.close()

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: object = None,
        timeout: float = TIMEOUT_S,
    ) -> Any:  # noqa: ANN401
        import httpx
        from label_studio_sdk.core.api_error import ApiError

        # What changes something is not repeated by itself: an import that timed out may have happened.
        options: Any = {"timeout_in_seconds": timeout, "max_retries": 1 if method == "GET" else 0}
        content: Any = {} if json is None else {"content": records.dumps(json), "headers": _JSON}
        try:
            answer = self._http.request(path, method=method, params=params, request_options=options, **content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            what, remedy = reaching.hindrance(self.url, error)
            raise UnavailableError(f"{what}: {remedy}.") from error
        except ApiError as error:
            raise PrepalError(f"Label Studio refused the token ({_detail(error.body)}): make a new one.") from error
        except ValueError as error:
            # The SDK found no JSON where it asked for an access token.
            raise self._not_label_studio("POST", "api/token/refresh/") from error
        body = _json(answer)
        if answer.status_code >= 400:
            raise _error(self.url, method, path, answer, body)
        if body is None and answer.content:
            raise self._not_label_studio(method, path)
        return body

    def _not_label_studio(self, method: str, path: str) -> UnavailableError:
        return UnavailableError(
            f"What answers at {self.url} to {method} {path} is not JSON of Label Studio's"
            f"{reaching.by_proxy(self.url)}: check LABEL_STUDIO_URL, and what is in front of it."
        )


def _error(url: str, method: str, path: str, answer: "httpx.Response", body: Any) -> PrepalError:  # noqa: ANN401
    status = answer.status_code
    detail = f"{answer.reason_phrase}{reaching.by_proxy(url)}" if body is None else _detail(body)
    if body is None and (odd := reaching.odd_name(url, status)):
        return PrepalError(f"{odd.what}: {odd.remedy}.")
    if status == 401:
        return PrepalError(
            f"Label Studio at {url} does not know the token ({detail}): check LABEL_STUDIO_API_KEY; legacy "
            "tokens must be switched on in the organisation's settings."
        )
    if status == 413:
        size = int(answer.request.headers.get("content-length", 0))
        return TooLargeError(
            f"Something in front of Label Studio at {url} refuses to pass on {size:,} bytes ({detail}): raise its "
            "limit, such as client_max_body_size of nginx."
        )
    if "reserved" in detail.lower() or "private" in detail.lower():
        return PrepalError(
            f"Label Studio blocks private addresses ({detail}): start it with ML_BLOCK_LOCAL_IP=false and "
            "SSRF_PROTECTION_ENABLED=false."
        )
    said = f"Label Studio answered {status} to {method} {path}: {detail}"
    # A proxy answers 404 as well, when nobody is behind it; Label Studio's own answer names its release.
    is_own = isinstance(body, Mapping) and "version" in body and body.get("status_code") == status
    if status == 404 and is_own:
        return NotFoundError(said)
    return UnavailableError(said) if status in (404, 408, 429) or status >= 500 else PrepalError(said)


def _json(answer: "httpx.Response") -> Any:  # noqa: ANN401
    """The content of an answer; None where it has none, or none that is JSON."""
    try:
        return records.loads(answer.content) if answer.content else None
    except ValueError:
        return None


def _detail(body: object) -> str:
    """What Label Studio says went wrong, on one line and without markup."""
    if isinstance(body, Mapping):
        said = body.get("validation_errors") or body.get("detail") or body
        body = said if isinstance(said, str) else json.dumps(said)
    return records.readable(" ".join(str(body).split())[:500])
