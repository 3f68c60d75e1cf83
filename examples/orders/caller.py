"""Who asks: the user that commands are recorded under."""

from typing import Annotated

from fastapi import Depends, Header

from diptych import CommandBus
from diptych.web import commands_as, routes_as

UserId = Annotated[str | None, Header(alias="X-User-Id", max_length=100, description="Who you are; a demo's login.")]


async def current_user(user_id: UserId = None) -> str | None:
    """Trust a header, as behind a proxy that logs people in. Replace it with your own dependency."""
    return user_id


Commands = Annotated[CommandBus, Depends(commands_as(current_user))]  # for routes that are functions
Route = routes_as(current_user)  # for routes that are a command or a query, and nothing more
