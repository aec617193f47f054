"""Comparison of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_close(got: Any, expected: Any, what: str, tolerance: float = 1e-9) -> None:
    """Assert equality up to `tolerance` of the largest expected value."""
    expected = np.asarray(expected)
    assert np.shape(got) == expected.shape, f"{what}: {np.shape(got)}, expected {expected.shape}"
    scale = np.max(np.abs(expected), initial=1.0)
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale, err_msg=what)
