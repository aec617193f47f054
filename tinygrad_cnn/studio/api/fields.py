"""What several requests and answers have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

__all__ = ["Id", "Input", "Temperature"]

LARGEST_ID = 2**63 - 1

Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]
"""Of a model, a run or a drawing: what SQLite can hold."""

Input = Annotated[
    str,
    Field(
        description="base64 of 28×28 bytes, row by row: light ink on black",
        pattern=r"^[A-Za-z0-9+/_-]{1046}(==)?$",
    ),
]
"""What `encoding.decode_input` takes: the pattern lets nothing else through."""

Temperature = Annotated[
    float,
    Field(description="the higher, the more even the probabilities", ge=0.01, le=100.0),
]
