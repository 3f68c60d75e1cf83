"""`diptych dev` and `diptych run`: the FastAPI application of the user under uvicorn, its App inside."""

import socket

from diptych.cli.discovery import Found
from diptych.cli.output import talk
from diptych.errors import ConfigurationError


def serve(found: Found, *, host: str, port: int, reload: bool = False, workers: int = 1) -> None:
    """Serve until interrupted.

    :raises ConfigurationError: there is no FastAPI object, or the port is taken.
    """
    if found.api is None:
        raise ConfigurationError(
            f"{found.target.module} has no FastAPI object. Write `api = FastAPI()` and `install(app, api)` there."
        )
    try:
        import uvicorn
    except ImportError as error:
        raise ConfigurationError("Serving needs uvicorn. Write: pip install 'diptych[fastapi]'") from error
    _check_free(host, port)
    _introduce(found, host, port, reload)
    uvicorn.run(
        found.import_string,
        host=host,
        port=port,
        reload=reload,
        reload_dirs=[str(found.target.folder)] if reload else None,
        workers=workers if workers > 1 else None,
        log_level="info" if reload else "warning",
        access_log=reload,
    )


def _check_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {host}:{port} ({error.strerror}). Choose another port: --port {port + 1}"
        ) from error


def _introduce(found: Found, host: str, port: int, reload: bool) -> None:
    at = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    docs = getattr(found.api, "docs_url", None)
    talk(f"\n  {found.import_string} on {found.app.url}, {found.app.mode}{', reloads on change' if reload else ''}\n")
    talk(f"  api     {at}")
    if docs:
        talk(f"  docs    {at}{docs}")
    talk(f"  health  {at}/health/ready\n")
