"""Tells what an app is made of, from within the process that has imported it.

Rule: nothing is opened or started.
"""

import gc
import json
import sys
from typing import Any, Literal

from diptych.app.application import App
from diptych.app.outline import outline
from diptych.handlers import written_at
from diptych.messages import DomainEvent, declared_events
from diptych.write.aggregate import appliers


def told(app: App) -> dict[str, Any]:
    """Return the facts of an app, as `facts_of` reads them."""
    found = outline(app)
    taken = [event for cls in found.aggregates.values() for event in appliers(cls)]
    taken += [event for definition in found.definitions for event in definition.events]
    taken += [event for duty in found.duties for event in duty.events]
    declared = [cls for cls in declared_events() if not cls.__module__.startswith("diptych.sagas.")]  # ours
    events = sorted(declared, key=lambda cls: (cls.event_name, cls.__qualname__))
    modules = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return {
        "handled": list(_handled(app)),
        "events": [_event(cls, cls in taken) for cls in events],
        "upcasts": sorted({step for module in app.everything() for step in module.upcasters.steps()}),
        "consumed": sorted({event.event_name for event in taken}),
        "problems": found.problems,
        "files": sorted({str(file) for file in modules if file}),
    }


def _handled(app: App) -> Any:
    """Who handles what: in this app, and in others that were made while it was imported."""
    others = [one for one in gc.get_objects() if isinstance(one, App) and one is not app]
    for module in (module for each in (app, *others) for module in each.everything()):
        for handlers in (module.command_handlers, module.query_handlers):
            for message, handler in handlers.by_message():
                yield {"message": _dotted(message), "where": written_at(handler)}


def _event(cls: type[DomainEvent], is_taken: bool) -> dict[str, Any]:
    required = [name for name, field in cls.model_fields.items() if field.is_required()]
    named = {"event": cls.event_name, "version": cls.schema_version, "where": written_at(cls)}
    shapes = {"fields": _shapes(cls, "serialization"), "read": _shapes(cls, "validation"), "required": required}
    is_base = bool(cls.__subclasses__()) and not is_taken
    return {**named, **shapes, "is_base": is_base, "is_inert": cls.is_inert}


def _shapes(cls: type[DomainEvent], mode: Literal["serialization", "validation"]) -> dict[str, str]:
    """Each field's schema, by the name under which it is stored; an empty one where it cannot be said."""
    try:
        schema = cls.model_json_schema(by_alias=False, mode=mode)
    except Exception:  # a field without a schema is no reason not to look at the others
        schema = {}
    shared = schema.get("$defs", {})
    known = schema.get("properties") or shared.get(schema.get("$ref", "").rpartition("/")[2], {}).get("properties", {})
    return {name: _shape(known.get(name, {}), shared) for name in cls.model_fields}


def _shape(shape: Any, shared: dict[str, Any]) -> str:
    """A field's schema as canonical JSON, without what does not change its values, nested models in place."""
    return json.dumps(_bare(shape, shared, ()), sort_keys=True, separators=(",", ":"))


def _bare(shape: Any, shared: dict[str, Any], seen: tuple[str, ...]) -> Any:
    if isinstance(shape, list):
        return [_bare(each, shared, seen) for each in shape]
    if not isinstance(shape, dict):
        return shape
    name = str(shape.get("$ref", "")).rpartition("/")[2]
    if name in shared:
        return {"$ref": name} if name in seen else _bare(shared[name], shared, (*seen, name))
    words = ("title", "description", "default", "examples")
    return {
        key: {name: _bare(each, shared, seen) for name, each in value.items()}
        if key == "properties"  # a field may have one of these words as its name
        else _bare(value, shared, seen)
        for key, value in shape.items()
        if key not in words
    }


def _dotted(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
