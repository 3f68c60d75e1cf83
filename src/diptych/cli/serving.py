"""`diptych dev` and `diptych run`: the FastAPI application of the user under uvicorn, its App inside.

Rule: a fault of the user's, in this process or in one that uvicorn starts, is told in a sentence.
"""

import asyncio
import errno
import json
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

from diptych.cli.discovery import Found, Target, look
from diptych.cli.output import talk
from diptych.cli.working import check_shared, divide
from diptych.errors import ConfigurationError, DiptychError
from diptych.store.opening import shown

_SERVED: Final = "DIPTYCH_SERVED"  # tells the processes that uvicorn starts what to import

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def serve(
    found: Found, *, host: str, port: int, reload: bool = False, workers: int = 1, answers_only: bool = False
) -> None:
    """Serve until interrupted. `answers_only`: other processes run the projections.

    :raises ConfigurationError: there is no FastAPI object, the port is taken, or the processes would share no store.
    """
    if found.api is None:
        raise ConfigurationError(
            f"{found.target.module} has no FastAPI object. Write `api = FastAPI()` and `install(app, api)` there."
        )
    if workers > 1:
        check_shared(found.app, "--workers")
    try:
        import uvicorn

        from diptych.cli.listening import START_FAILED, run
    except ImportError as error:
        raise ConfigurationError("Serving needs uvicorn. Write: pip install 'diptych[fastapi]'") from error
    if answers_only:
        divide(found.app, works=False)
    _check_free(host, port)
    _introduce(found, host, port, reload)
    os.environ[_SERVED] = json.dumps([found.target.module, str(found.target.folder), found.api_name, answers_only])
    config = uvicorn.Config(
        f"{__name__}:served",
        factory=True,
        interface="asgi3",
        host=host,
        port=port,
        reload=reload,
        reload_dirs=[str(found.target.folder)] if reload else None,
        workers=workers,
        log_level="info" if reload else "warning",
        access_log=reload,
    )
    try:
        run(config)
    except SystemExit as ended:
        raise SystemExit(2 if ended.code == START_FAILED else ended.code) from ended


def served() -> "Told":
    """Import the application again, in the process that serves it. uvicorn calls this, after each change too."""
    module, folder, name, answers_only = json.loads(os.environ[_SERVED])
    try:
        found = look(Target(module, Path(folder), name))
        if answers_only:
            divide(found.app, works=False)
        return Told(found.api)
    except DiptychError as error:
        talk(f"diptych: {error}")
        from diptych.cli.listening import START_FAILED

        raise SystemExit(START_FAILED) from error


class Told:
    """An ASGI application whose refused start is told in its own sentence, not as a stack trace."""

    def __init__(self, api: Any) -> None:
        self._api = api

    def __call__(self, scope: Message, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve, with nothing in between."""
        if scope["type"] == "lifespan":
            return self._live(scope, receive, send)
        answer: Awaitable[None] = self._api(scope, receive, send)
        return answer

    async def _live(self, scope: Message, receive: Receive, send: Send) -> None:
        failed: Message | None = None

        async def hold_back(message: Message) -> None:
            nonlocal failed
            if message["type"].endswith(".failed"):
                failed = message
            else:
                await send(message)

        try:
            await self._api(scope, receive, hold_back)
        except BaseException as error:
            if failed is not None:
                await send({**failed, "message": _sentence(error, failed["message"])})
            if not isinstance(error, DiptychError):
                raise


def _sentence(error: BaseException, trace: str) -> str:
    """What to say of a start or stop that failed: of one interrupted again nothing, of a stranger's error all."""
    return str(error) if isinstance(error, DiptychError) else "" if isinstance(error, asyncio.CancelledError) else trace


def _check_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            what = f"{os.strerror(error.errno)}). Choose another port: --port {port + 1 if port > 1023 else 8000}"
        else:
            what = f"{str(error.strerror).partition(' (')[0]}). Choose an address of this machine: --host 127.0.0.1"
        raise ConfigurationError(f"Cannot listen on {host}:{port} ({what}") from error


def _introduce(found: Found, host: str, port: int, reload: bool) -> None:
    at = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    docs = getattr(found.api, "docs_url", None)
    reloads = ", reloads on change" if reload else ""
    talk(f"\n  {found.import_string} on {shown(found.app.url)}, {found.app.mode}{reloads}\n")
    talk(f"  api     {at}")
    if docs:
        talk(f"  docs    {at}{docs}")
    talk(f"  health  {at}/health/ready\n")
