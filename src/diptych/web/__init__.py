"""The FastAPI front: `install(app, api)`, and the dependencies that routes ask for."""

from diptych.web.dependencies import Commands, Queries, commands_as, locate, require_if_match, tag
from diptych.web.install import install
from diptych.web.message_routes import routes_as
from diptych.web.path_commands import from_path
from diptych.web.settings import WebSettings

__all__ = [
    "Commands",
    "Queries",
    "WebSettings",
    "commands_as",
    "from_path",
    "install",
    "locate",
    "require_if_match",
    "routes_as",
    "tag",
]
