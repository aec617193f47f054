"""Field types shared by requests and answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Header
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Id", "IdempotencyKey", "Input", "RequestBody", "Temperature", "one_of"]

LARGEST_ID = 2**63 - 1


class RequestBody(BaseModel):
    """A body of which nothing is ignored, and no value is converted: `true` is not a number."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]
"""The id of a model, run or drawing, within SQLite's range."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="made by the client: a repeated key creates nothing, and is answered with "
        "what it has created",
        min_length=8,
        max_length=64,
        pattern=r"^[A-Za-z0-9_-]+$",
    ),
]
"""The header Idempotency-Key of a request that creates a drawing, a run or a model."""

Input = Annotated[
    str,
    Field(
        description="base64 of a byte per channel, row and column: 1×28×28, light ink on black, "
        "or 3×32×32, RGB",
        pattern=r"^([A-Za-z0-9+/_-]{1046}(==)?|[A-Za-z0-9+/_-]{4096})$",
    ),
]
"""Input for `encoding.decode_input`; the pattern admits nothing else."""

Temperature = Annotated[
    float,
    Field(
        description="divides the logits: the higher, the more even the probabilities",
        ge=0.01,
        le=100.0,
    ),
]


def one_of(names: Iterable[str]) -> Any:
    """Document the strings that a field takes; the handler of the request rejects all others."""
    return Field(max_length=40, json_schema_extra={"enum": list(names)})
