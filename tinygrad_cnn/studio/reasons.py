"""Reasons for refusing a field, in words that say what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["reason"]

EXPECTED = {
    "missing": "something: it is missing",
    "extra_forbidden": "nothing: there is no such field",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "finite_number": "a finite number",
    "string_too_short": "text of length {min_length} or more",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "too_short": "a list of length {min_length} or more",
    "too_long": "at most {max_length} entries",
    "literal_error": "{expected}",
}
"""What was expected, by the type of a validation error, formatted with its context."""

EXPECTED_KIND = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "dict": "an object",
    "model": "an object",
    "none": "null",
    "json": "JSON",
}
"""What was expected, by the first word of an error's type: int_type, int_parsing, ..."""


def reason(error: Mapping[str, Any]) -> str:
    """Return what was expected of a field, from one of Pydantic's errors.

    Parameters
    ----------
    error : mapping
        ``type`` and ``ctx`` of an element of ``ValidationError.errors()``.

    Examples
    --------
    >>> reason({"type": "greater_than_equal", "ctx": {"ge": 1}})
    'expected at least 1'
    >>> reason({"type": "int_from_float"})
    'expected a whole number'
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":  # raised by a validator of ours
        return str(context["error"])
    expected = EXPECTED.get(kind) or EXPECTED_KIND.get(kind.partition("_")[0], "another value")
    written = {name: f"{x:g}" if isinstance(x, float) else x for name, x in context.items()}
    return f"expected {expected.format(**written)}"
