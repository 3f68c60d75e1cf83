"""`from_path`: a command whose ids come from the path of the route, and whose other fields come from the body."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Body, Depends, Path
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from diptych.errors import ConfigurationError
from diptych.messages import Command

MESSAGE = "__diptych_message__"  # on a dependency: the command that it makes
BODILESS = (
    "__diptych_bodiless__"  # on the same: all of the command is in the path, and a body is only there to be empty
)


def from_path(command: type[Command[Any]], *fields: str) -> Any:
    """Take these fields of a command from the path of the route and all others from the body.

        @api.post("/orders/{order_id}/cancel")
        async def cancel(command: Annotated[CancelOrder, from_path(CancelOrder, "order_id")], commands: Commands): ...

    The body's schema is without them, and a body that has them, or any field the command has not, gets 422.
    """
    unknown = [name for name in fields if name not in command.model_fields]
    if unknown or not fields:
        raise ConfigurationError(
            f"from_path({command.__name__}, ...): name fields of the command; "
            f"{unknown or 'none'} is not one of {sorted(command.model_fields)}."
        )
    return Depends(_dependency(command, fields))


def _dependency(command: type[Command[Any]], fields: Sequence[str]) -> Any:
    rest = {name: field for name, field in command.model_fields.items() if name not in fields}
    aliases = {name: _alias(name, command.model_fields[name]) for name in fields}

    async def make(**given: Any) -> Command[Any]:
        body = given.pop("body", None) or {}
        return _validated(command, body, {aliases[name]: value for name, value in given.items()})

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=_path_parameter(command.model_fields[name]))
        for name in fields
    ]
    is_required = any(field.is_required() for field in rest.values())
    schema: Any = Annotated[_body_model(command, rest), _AsGiven(), Body()]
    parameters.append(
        inspect.Parameter("body", inspect.Parameter.KEYWORD_ONLY, annotation=schema)
        if is_required
        else inspect.Parameter("body", inspect.Parameter.KEYWORD_ONLY, annotation=schema, default=None)
    )
    setattr(make, "__signature__", inspect.Signature(parameters))  # noqa: B010 - a function has none to mypy
    setattr(make, MESSAGE, command)
    setattr(make, BODILESS, not rest)
    return make


def _validated(command: type[Command[Any]], body: Mapping[str, Any], path: Mapping[str, Any]) -> Command[Any]:
    """Validate once, as a whole, so that the command knows which fields the caller gave.

    :raises RequestValidationError: with each fault placed in the path or in the body.
    """
    doubled = [name for name in path if name in body]
    try:
        if doubled:
            raise ValidationError.from_exception_data(
                command.__name__,
                [InitErrorDetails(type="extra_forbidden", loc=(name,), input=None) for name in doubled],
            )
        return command.model_validate({**body, **path})
    except ValidationError as error:
        found = [
            {
                **one,
                "loc": ("path" if one["loc"][:1] and one["loc"][0] in path and not doubled else "body", *one["loc"]),
            }
            for one in error.errors(include_url=False)
        ]
        raise RequestValidationError(found, body=body) from error


class _AsGiven:
    """Shows a model's schema, and lets any JSON object through as it is: the command validates it, once."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(_only_objects, handler(source))


def _only_objects(value: Any, _validate: Any) -> Any:
    if not isinstance(value, dict):
        raise PydanticCustomError("dict_type", "Input should be a JSON object")
    return value


def _body_model(command: type[Command[Any]], rest: Mapping[str, FieldInfo]) -> type[BaseModel]:
    fields: dict[str, Any] = {name: (field.annotation, field) for name, field in rest.items()}
    model: type[BaseModel] = create_model(
        f"{command.__name__}Body", __config__=ConfigDict(extra="forbid"), __doc__=command.__doc__, **fields
    )
    return model


def _path_parameter(field: FieldInfo) -> Any:
    return Annotated[field.annotation, *field.metadata, Path(description=field.description)]


def _alias(name: str, field: FieldInfo) -> str:
    if isinstance(field.validation_alias, str):
        return field.validation_alias
    return field.alias or name
