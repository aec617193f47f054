"""Files of derivations: the suffix chooses the writer."""

from __future__ import annotations

from pathlib import Path

import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.derivation.derivation import FORMATS, Derivation


@pytest.fixture
def derivation() -> Derivation:
    x = tg.Tensor(0.5, requires_grad=True, name="x")
    return tg.derive(tg.tanh(x), wrt=x)


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_suffix_writes_its_format(suffix: str, derivation: Derivation, tmp_path: Path) -> None:
    path = derivation.render(tmp_path / f"chain{suffix.upper()}")
    assert path.read_text("utf-8") == FORMATS[suffix](derivation)


def test_a_new_format_is_one_line(
    derivation: Derivation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, ".repr", repr)
    assert derivation.render(tmp_path / "chain.repr").read_text("utf-8") == repr(derivation)


def test_an_unknown_suffix_is_refused_with_those_of_the_table(derivation: Derivation) -> None:
    with pytest.raises(ValueError, match=r"render: path is 'x\.rtf', expected one ending in \.txt"):
        derivation.render("x.rtf")
