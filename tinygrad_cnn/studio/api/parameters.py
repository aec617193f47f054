"""A check of the parameters in an address, for all routes.

Pydantic converts a text to a number or a truth value generously: " 1_0 " is 10 and "yes" is true.
FastAPI ignores what it does not know, and all but the last of a repeated parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

from fastapi import Depends, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Param
from fastapi.routing import APIRoute

from tinygrad_cnn.studio.problems import refusal, refused

__all__ = ["STRICT_PARAMETERS"]

TEXTS: dict[type, tuple[re.Pattern[str], str]] = {
    bool: (re.compile("true|false"), "true or false"),
    int: (re.compile(r"-?\d+", re.ASCII), "a whole number"),
    float: (re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE), "a number"),
}
"""How a value is written in an address, by type."""


async def check(request: Request) -> None:
    """Raise Problem unless each parameter is known, given once, and written as its type is."""
    route: APIRoute = request.scope["route"]
    known = _KNOWN.get(route.endpoint)
    if known is None:
        known = _KNOWN[route.endpoint] = _types(route)
    errors = []
    for where, came in (
        ("path", [*request.path_params.items()]),
        ("query", request.query_params.multi_items()),
    ):
        names = [name for name, _ in came]
        for name, value in came:
            if (where, name) not in known:
                expected = ", ".join(name for place, name in known if place == where)
                reason = f"expected one of {expected}" if expected else "expected no parameter"
                errors.append(refusal((where, name), name, reason))
            elif names.count(name) > 1:
                errors.append(refusal((where, name), value, "expected it once"))
            else:
                pattern, expected = TEXTS.get(known[where, name], (None, ""))
                if pattern is not None and not pattern.fullmatch(value):
                    errors.append(refusal((where, name), value, f"expected {expected}"))
    if errors:
        raise refused(errors)


def _types(route: APIRoute) -> dict[tuple[str, str], type]:
    """Return the type of each parameter of a route, by place and name."""
    infos = [(field.alias, field.field_info) for field in get_flat_params(route.dependant)]
    return {
        (info.in_.value, name): next(_plain(info.annotation), str)
        for name, info in infos
        if isinstance(info, Param)
    }


def _plain(annotation: Any) -> Iterator[type]:
    """Yield the types in an annotation whose values are not texts."""
    if annotation in TEXTS:
        yield annotation
    for inner in get_args(annotation):
        yield from _plain(inner)


_KNOWN: dict[Callable[..., Any], dict[tuple[str, str], type]] = {}

STRICT_PARAMETERS = Depends(check)
