"""How many examples Hypothesis draws where a property needs more than the few of the profile."""

from __future__ import annotations

from typing import Any

from hypothesis import settings


def at_least(examples: int, **options: Any) -> settings:
    """Return settings for so many examples, or for as many as the profile asks for."""
    return settings(max_examples=max(examples, settings().max_examples), **options)
