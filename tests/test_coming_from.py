"""The tables of equivalents: what stands on our side runs, and has NumPy's values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import pages

import tinygrad_cnn as tg
from tinygrad_cnn import data, nn, optim, train

FOLDER = pages.ROOT / "docs" / "how-to"


def rows(page: str, *firsts: str) -> list[tuple[list[str], list[str]]]:
    """Return the code of both columns, by row, of each table whose heading starts with a word."""
    found, inside = [], False
    for line in (FOLDER / page).read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            inside = False
        elif inside and not cells[0].startswith("---"):
            left, right = (re.findall(r"`([^`]+)`", cell) for cell in cells)
            found.append((left, right))
        inside = inside or cells[0].startswith(firsts)
    return found


def test_our_side_of_every_row_of_keras_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "mnist", data.digits)  # no download
    Image = pytest.importorskip("PIL.Image")  # a module
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 24 * 24, 10))
    split = data.digits()
    loader = data.DataLoader(split.train[:100], batch_size=50)
    history = train.fit(model, tg.cross_entropy, optim.SGD(model.parameters()), loader, epochs=1)
    given = {
        "np": np, "tg": tg, "nn": nn, "optim": optim, "data": data, "train": train,
        "x": tg.Tensor(rng.normal(size=(8, 3, 32, 32)).astype("f4")),
        "h": tg.Tensor(rng.normal(size=(8, 64)).astype("f4"), requires_grad=True),
        "y": np.arange(8), "model": model, "history": history,
        "images": split.test.images[:8] / np.float32(255),
        "optimizer": optim.Adam(model.parameters()),
        "path": tmp_path / "folder", "loss": tg.Tensor(1.0, requires_grad=True) * 2.0,
    }  # fmt: skip
    for k, name in enumerate(("cat", "dog")):
        (tmp_path / "folder" / name).mkdir(parents=True)
        for i in range(5):
            pixels = np.full((8, 8), 100 * k + i, "u1")
            Image.fromarray(pixels).save(tmp_path / "folder" / name / f"{i}.png")
    count = 0
    for _, codes in rows("coming-from-keras.md", "Keras", "callback"):
        for code in codes:
            if "..." not in code and not re.fullmatch(r"\w+=?", code):  # a name alone
                exec(f"{code} pass" if code.endswith(":") else code, given)
                count += 1
    assert count > 45


def test_both_sides_of_every_row_of_numpy_have_the_same_values() -> None:
    rng = np.random.default_rng(0)
    given: dict[str, Any] = {
        "np": np, "tg": tg, "nn": nn,
        "a": rng.normal(size=(8, 5)), "w": rng.normal(size=(3, 5)), "b": rng.normal(size=3),
        "x": rng.normal(size=(2, 3, 8, 8)), "k": rng.normal(size=(4, 3, 3, 3)),
        "labels": np.array([0, 1, 2, 3, 4, 0, 1, 2]),
    }  # fmt: skip
    compared = rows("coming-from-numpy.md", "NumPy")
    assert len(compared) > 12
    for (left,), (right,) in compared:
        ours, expected = eval(right, given), eval(left, given)
        np.testing.assert_allclose(np.asarray(ours), expected, rtol=1e-6, err_msg=left)
