"""The OpenAPI document, extended with problem documents."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from tinygrad_cnn.studio.problems import PROBLEMS, ProblemDocument, documented

__all__ = ["install"]

OF_A_BODY = {
    str(status): response
    for status, response in documented("bad-request", "slow", "too-large").items()
}
FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")


def install(app: FastAPI) -> None:
    """Make ``/openapi.json`` describe errors as problem documents."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_problems(describe())
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's own way to change it


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in FASTAPIS_OWN:
        schemas.pop(name, None)
    schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
    document["x-problems"] = {
        name: {"status": status, "title": title} for name, (status, title) in PROBLEMS.items()
    }
    invalid = documented("invalid")[422]
    for operations in document["paths"].values():
        for operation in operations.values():
            responses = operation["responses"]
            if "application/json" in responses.get("422", {}).get("content", {}):
                responses["422"] = invalid
            if "requestBody" in operation:
                responses.update(OF_A_BODY | responses)
            operation["responses"] = dict(sorted(responses.items()))
    return document
