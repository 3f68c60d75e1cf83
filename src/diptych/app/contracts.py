"""What an app tells other systems and hears of them, for people and tools outside of it."""

from collections.abc import Iterator
from typing import Any

from diptych.app.application import App
from diptych.errors import ConfigurationError
from diptych.reactions.asyncapi import Channel, asyncapi


def asyncapi_of(app: App, *, title: str = "", version: str = "1.0.0") -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of an app, running or not. :raises ConfigurationError: listing its faults."""
    return asyncapi(title or app.name, version, list(_channels(app)))


def _channels(app: App) -> Iterator[Channel]:
    problems: list[str] = []
    for module in app.everything():
        for publication, publisher in module.published:
            try:
                told = publication.read().values()
            except (TypeError, NameError) as error:
                problems.append(str(error))
                continue
            events = list(dict.fromkeys(event for mapped in told for event in mapped.makes))
            address = getattr(publisher, "address", publication.name)
            yield Channel(publication.name, address, "send", events, f"Published by {publication.source}.")
        for inbox in module.inboxes:
            try:
                accepted = inbox.read().values()
            except (TypeError, NameError) as error:
                problems.append(str(error))
                continue
            address = getattr(inbox.source, "address", inbox.name)
            yield Channel(inbox.name, address, "receive", [one.event for one in accepted])
    if problems:
        raise ConfigurationError(problems)
