"""Reading federation.yaml: what it says as a ``Federation``, or everything that is wrong with it in sentences."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from fedsilo.config import checks
from fedsilo.config.federation import Federation
from fedsilo.errors import SpecError
from fedsilo.text import plain


def load_federation(path: Path | str) -> Federation:
    """Read a federation's file.

    Raises:
        SpecError: The file can't be read or is not valid. The message has a line for each problem.
    """
    return parse_federation(_read(Path(path)))


def parse_federation(raw: object) -> Federation:
    """The federation that parsed YAML describes.

    Raises:
        SpecError: The YAML is not a valid federation. The message has a line for each problem.
    """
    if not isinstance(raw, dict):
        raise SpecError("federation: should be a mapping with name, aggregator and silos")
    raw = _inherit_region(raw)
    try:
        federation, problems = Federation.model_validate(raw), []
    except ValidationError as error:
        federation = None
        problems = [_sentence(each) for each in error.errors(include_url=False) if not _is_consequence(each)]
    problems += checks.problems(raw)
    if federation is None or problems:
        raise SpecError("\n".join(dict.fromkeys(plain(problem, 2000) for problem in problems)))
    return federation


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


def _read(path: Path) -> object:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeysLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}; name the federation's file, or write one") from None
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SpecError(f"{path}{where}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None


def _inherit_region(raw: Mapping[Any, Any]) -> dict[Any, Any]:
    """Give each silo without a region the aggregator's."""
    aggregator, silos = raw.get("aggregator"), raw.get("silos")
    if not isinstance(aggregator, dict) or "region" not in aggregator or not isinstance(silos, list):
        return dict(raw)
    region = aggregator["region"]
    return {**raw, "silos": [{"region": region, **silo} if isinstance(silo, dict) else silo for silo in silos]}


def _is_consequence(error: Any) -> bool:
    """Whether the error only follows from another one, which is reported too."""
    if error["type"] == "too_short":  # pydantic leaves items with errors out before it counts
        return bool(len(error["input"]) >= error["ctx"]["min_length"])
    return bool(error["type"] == "default_factory_not_called")


def _sentence(error: Any) -> str:
    """One of pydantic's errors as ``setting: value what is allowed``."""
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    if error["type"] == "missing":
        return f"{where}: is missing"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key; known here: {', '.join(_keys_allowed_at(error['loc'][:-1]))}"
    if isinstance(error["input"], BaseModel | dict | list):
        return f"{where}: {_what_is_allowed(error)}"
    return f"{where}: {str(error['input'])[:80]} {_what_is_allowed(error)}"


def _what_is_allowed(error: Any) -> str:
    match error["type"]:
        case "model_type" | "dict_type":
            return "should be a mapping"
        case "tuple_type":
            return "should be a list"
        case "value_error":
            return str(error["ctx"]["error"])
        case "string_pattern_mismatch":
            return f"should be of {error['ctx']['pattern'].strip('^$')}"
    return re.sub(r"^(Input|Value|String|Tuple|List|Dictionary) | after validation", "", error["msg"])


def _keys_allowed_at(loc: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = Federation
    for part in loc:
        if isinstance(part, str) and (field := model.model_fields.get(part)):
            model = _model_in(field.annotation) or model
    return [*model.model_fields]


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The model that a field's type consists of, as ``Silo`` in ``tuple[Silo, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)
