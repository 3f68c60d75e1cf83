"""Where alerts go: a webhook, beside any async function of your own.

Rule: nothing here knows what an alert is about; a URL may be a secret, and only its host is ever named.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from diptych.errors import ConfigurationError
from diptych.store.alerts import Alert, AlertChange
from diptych.subscriptions.thread import WorkThread

__all__ = ["Alert", "AlertChange", "Webhook"]


class _NotTakenError(Exception):
    """Whoever was told did not say that it understood."""


class _StandStill(HTTPRedirectHandler):
    """To follow a redirect would send the headers, and what is secret in them, somewhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none."""


class Webhook:
    """Posts each change of an alert to a URL, as JSON. An answer of 2xx within `timeout` seconds is success.

    A user and password in the URL are sent as basic authentication.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, timeout: float = 5.0) -> None:
        """:raises ConfigurationError: it is no http or https URL."""
        place = _place(url)
        self._host, self._timeout = place.hostname or "", timeout
        self._url = place._replace(netloc=place.netloc.rpartition("@")[2], fragment="").geturl()
        self._headers = {"Content-Type": "application/json", **_authorization(place), **(headers or {})}
        self._opener = build_opener(_StandStill)

    def __str__(self) -> str:
        """Name it in the log."""
        return f"the webhook at {self._host}"

    async def __call__(self, change: AlertChange) -> None:
        """Post it once; whoever called tries again. On a thread of its own, for one that hangs is left behind."""
        thread = WorkThread(f"diptych-webhook-{self._host}", 2 * self._timeout)  # given up here before it is there
        try:
            async with asyncio.timeout(self._timeout):
                await thread.run(self._post, json.dumps(_body(change)).encode())
        except TimeoutError as error:
            raise _NotTakenError(f"no answer within {self._timeout:g} s") from error
        finally:
            thread.close()

    def _post(self, body: bytes) -> None:
        request = Request(self._url, body, self._headers, method="POST")
        try:
            self._opener.open(request, timeout=self._timeout).close()
        except HTTPError as error:
            error.close()
            raise _NotTakenError(f"it answered {error.code}") from error
        except URLError as error:
            raise _NotTakenError(f"it cannot be reached ({error.reason})") from error
        except (HTTPException, ValueError, OSError) as error:  # whose text may have the URL
            raise _NotTakenError(f"the request failed ({type(error).__name__})") from error


def _place(url: str) -> SplitResult:
    try:
        place = urlsplit(url)
        if place.scheme in ("http", "https") and place.hostname and place.port != 0:
            return place
    except ValueError:
        pass
    raise ConfigurationError("A webhook needs an http or https URL. Write Webhook('https://example.com/alerts').")


def _authorization(place: SplitResult) -> dict[str, str]:
    if place.username is None:
        return {}
    login = f"{unquote(place.username)}:{unquote(place.password or '')}"
    return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}


def _body(change: AlertChange) -> dict[str, object]:
    """Times as RFC 3339. `text` is what chats show of a message."""
    alert = change.alert._asdict()
    for name in ("raised_at", "updated_at", "resolved_at"):
        alert[name] = None if alert[name] is None else datetime.fromtimestamp(alert[name] / 1_000_000, UTC).isoformat()
    return {"text": f"{change.change}: {change.alert.message}", "change": change.change, "alert": alert}
