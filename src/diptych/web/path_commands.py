"""`from_path`: a message whose ids come from the path of the route, and the rest from the body or the query string."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import Body, Depends, Path
from fastapi import Query as QueryString
from fastapi.exceptions import RequestValidationError
from pydantic import AliasChoices, BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from diptych.errors import ConfigurationError
from diptych.messages import Command, Query

Message = type[Command[Any]] | type[Query[Any]]

MESSAGE = "__diptych_message__"  # on a dependency or a route's function: the message that it makes, or is for
BODILESS = (
    "__diptych_bodiless__"  # on a dependency: all of the command is in the path, and a body is only there to be empty
)


def from_path(message: Message, *fields: str) -> Any:
    """Take these fields of a message from the path of the route, and all others from the body or the query string.

        @api.post("/orders/{order_id}/cancel")
        async def cancel(command: Annotated[CancelOrder, from_path(CancelOrder, "order_id")], commands: Commands): ...

    A command has a body, a query the query string. Their schemas are without what the path has, and a request that
    gives it twice, or any field the message has not, gets 422.
    """
    unknown = [name for name in fields if name not in message.model_fields]
    if unknown or not fields:
        raise ConfigurationError(
            f"from_path({message.__name__}, ...): name fields of the message; "
            f"{unknown or 'none'} is not one of {sorted(message.model_fields)}."
        )
    return Depends(_dependency(message, fields))


def _dependency(message: Message, fields: Sequence[str]) -> Any:
    rest = {name: field for name, field in message.model_fields.items() if name not in fields}
    names = {name: _names(name, message.model_fields[name]) for name in fields}
    place = "body" if issubclass(message, Command) else "query"

    async def make(**given: Any) -> Any:
        other = given.pop("other", None) or {}
        doubled = [one for name in fields for one in names[name] if one in other]
        return _validated(message, place, other, {names[name][0]: given[name] for name in fields}, doubled)

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=_path_parameter(message.model_fields[name]))
        for name in fields
    ]
    is_required = any(field.is_required() for field in rest.values())
    if place == "body" or rest:
        schema: Any = Annotated[
            _model_of(message, rest), _AsGiven(_only_objects), Body() if place == "body" else QueryString()
        ]
        parameters.append(
            inspect.Parameter("other", inspect.Parameter.KEYWORD_ONLY, annotation=schema)
            if is_required or place == "query"
            else inspect.Parameter("other", inspect.Parameter.KEYWORD_ONLY, annotation=schema, default=None)
        )
    setattr(make, "__signature__", inspect.Signature(parameters))  # noqa: B010 - a function has none to mypy
    setattr(make, MESSAGE, message)
    setattr(make, BODILESS, not rest and place == "body")
    return make


def _validated(
    message: Message, place: str, other: Mapping[str, Any], path: Mapping[str, Any], doubled: Sequence[str]
) -> Any:
    """Validate once, as a whole, so that the message knows which fields the caller gave.

    :raises RequestValidationError: with each fault placed in the path, or where the other fields come from.
    """
    try:
        if doubled:
            raise ValidationError.from_exception_data(
                message.__name__,
                [InitErrorDetails(type="extra_forbidden", loc=(name,), input=None) for name in doubled],
            )
        return message.model_validate({**other, **path})
    except ValidationError as error:
        found = [
            {**one, "loc": ("path" if one["loc"][:1] and one["loc"][0] in path and not doubled else place, *one["loc"])}
            for one in error.errors(include_url=False)
        ]
        raise RequestValidationError(found, body=other) from error


class _AsGiven:
    """Shows the schema of a type, and lets what comes through as it is: the message validates it, once."""

    def __init__(self, check: Callable[[Any, Any], Any]) -> None:
        self._check = check

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._check, handler(source))


def _anything(value: Any, _validate: Any) -> Any:
    return value


def _only_objects(value: Any, _validate: Any) -> Any:
    if not isinstance(value, dict):
        raise PydanticCustomError("dict_type", "Input should be a JSON object")
    return value


def _model_of(message: Message, rest: Mapping[str, FieldInfo]) -> type[BaseModel]:
    fields: dict[str, Any] = {name: (field.annotation, field) for name, field in rest.items()}
    model: type[BaseModel] = create_model(
        f"{message.__name__}Body", __config__=ConfigDict(extra="forbid"), __doc__=message.__doc__, **fields
    )
    return model


def _path_parameter(field: FieldInfo) -> Any:
    return Annotated[field.annotation, *field.metadata, _AsGiven(_anything), Path(description=field.description)]


def _names(name: str, field: FieldInfo) -> list[str]:
    """Every name under which a message may be given this field; the first one is always taken."""
    alias = field.validation_alias or field.alias or name
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [*dict.fromkeys([*(one for one in choices if isinstance(one, str)), name])]
