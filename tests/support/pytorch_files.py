"""Write small files as PyTorch writes them: run this file where torch and safetensors are.

It imports nothing of the package. `tests/train/test_train_weight_files.py` reads what it writes.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "train" / "pytorch"


def record() -> None:
    """Write the files."""
    import torch
    from safetensors.torch import save_file

    FOLDER.mkdir(exist_ok=True)
    torch.manual_seed(0)
    edges = torch.tensor([0.0, -0.0, 1.0, -2.5, 3.0e38, 1e-40, torch.inf, -torch.inf, torch.nan])
    values = torch.cat([edges, torch.randn(7)]).reshape(4, 4)
    kinds = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
    arrays = {name: values.to(kind) for name, kind in kinds.items()}
    exact = {f"{name}.as_float32": array.float() for name, array in arrays.items()}
    save_file(
        {**arrays, **exact, "scalar": torch.tensor(2.5).bfloat16()}, FOLDER / "dtypes.safetensors"
    )
    save_file({"weight": torch.ones(3).to(torch.float8_e4m3fn)}, FOLDER / "float8.safetensors")
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    model[2].weight = model[1].weight  # shared, which save_file alone refuses
    torch.save(model.state_dict(), FOLDER / "weights.pt")
    torch.save(model.state_dict(), FOLDER / "old.pth", _use_new_zipfile_serialization=False)
    save_file(
        {name: a.clone() for name, a in model.state_dict().items()}, FOLDER / "weights.safetensors"
    )


if __name__ == "__main__":
    record()
