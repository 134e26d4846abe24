"""YAML files that people write: reading them, and everything that is wrong with one in sentences."""

import re
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from fedsilo.errors import SpecError

Model = TypeVar("Model", bound=BaseModel)


class _UniqueKeysLoader(yaml.SafeLoader):
    """Refuses a mapping in which a key is given twice; PyYAML's own loaders take the last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            if isinstance(key.value, str):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(path: Path | Traversable, hint: str) -> object:
    """Read the YAML, or the JSON, of a file.

    Args:
        path: The file.
        hint: What to do if the file can't be read.

    Raises:
        SpecError: The file can't be read, or is not YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeysLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}; {hint}") from None
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SpecError(f"{path}{where}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None


def validate(model: type[Model], raw: object, file: str, place: str = "") -> Model:
    """What the YAML of a file says, as a model.

    Args:
        model: The file's schema.
        raw: The file's content, as ``read`` returns it.
        file: Begins each line of the error.
        place: The place of ``raw`` in a larger whole, for the error.

    Raises:
        SpecError: The content does not follow the schema. The message has a line for each problem.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise SpecError("\n".join(f"{file}: {problem}" for problem in problems(error, model, place))) from None


def problems(error: ValidationError, model: type[BaseModel], place: str = "") -> list[str]:
    """A sentence for each of pydantic's errors about ``model``, which begins with the setting's place."""
    return [_sentence(each, model, place) for each in error.errors(include_url=False) if not _is_consequence(each)]


def _is_consequence(error: Any) -> bool:
    """Whether the error only follows from another one, which is reported too."""
    if error["type"] == "too_short":  # pydantic leaves items with errors out before it counts
        return bool(len(error["input"]) >= error["ctx"]["min_length"])
    return bool(error["type"] == "default_factory_not_called")


def _sentence(error: Any, model: type[BaseModel], place: str) -> str:
    """One of pydantic's errors as ``setting: value what is allowed``."""
    inside = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    where = f"{place}{inside}".lstrip(".")
    where = f"{where}: " if where else ""
    if error["type"] == "missing":
        return f"{where}is missing"
    if error["type"] == "extra_forbidden":
        return f"{where}unknown key; known here: {', '.join(_keys_allowed_at(error['loc'][:-1], model))}"
    if error["input"] is None or isinstance(error["input"], BaseModel | dict | list):
        return f"{where}{_what_is_allowed(error)}"
    return f"{where}{str(error['input'])[:80]} {_what_is_allowed(error)}"


def _what_is_allowed(error: Any) -> str:
    match error["type"]:
        case "model_type" | "dict_type" | "mapping_type":
            return "should be a mapping"
        case "tuple_type":
            return "should be a list"
        case "value_error":
            return str(error["ctx"]["error"])
        case "string_pattern_mismatch":
            return f"should be of {error['ctx']['pattern'].strip('^$')}"
    return re.sub(r"^(Input|Value|String|Tuple|List|Dictionary) | after validation", "", error["msg"])


def _keys_allowed_at(loc: tuple[str | int, ...], model: type[BaseModel]) -> list[str]:
    for part in loc:
        if isinstance(part, str) and (field := model.model_fields.get(part)):
            model = _model_in(field.annotation) or model
    return [*model.model_fields]


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The model that a field's type consists of, as ``Silo`` in ``tuple[Silo, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)
