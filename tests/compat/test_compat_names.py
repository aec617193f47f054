"""Names of `compat.torch`: tables, pages, refusals and similar names."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from support import compat_page, pages

from tinygrad_cnn import ops
from tinygrad_cnn.compat import torch
from tinygrad_cnn.compat.torch import names, nn, table
from tinygrad_cnn.compat.torch.nn import functional as F  # noqa: N812

TABLES = [text for name, text in vars(table).items() if name.isupper() and isinstance(text, str)]


def test_the_page_is_what_the_tables_say() -> None:
    file = Path(pages.ROOT) / "docs" / "how-to" / "coming-from-pytorch.md"
    assert file.read_text("utf-8") == compat_page.page(), compat_page.__doc__


def test_every_function_of_the_tables_is_ours() -> None:
    for text in TABLES:
        for signature, expression in table.rows(text):
            for name in re.findall(r"tg\.(\w+)", expression):
                assert hasattr(ops, name), signature


def test_functions_show_pytorchs_signature_and_what_they_stand_for() -> None:
    assert str(inspect.signature(torch.clamp)) == "(input, min=None, max=None)"
    assert str(inspect.signature(F.relu)) == "(input, inplace=False)"
    assert str(inspect.signature(torch.Tensor.permute)) == "(input, *dims)"
    assert "tg.softmax(" in str(torch.softmax.__doc__)


def test_every_name_of_the_tables_is_pytorchs() -> None:
    known = names.known()
    for text, module in (
        (table.EVERYWHERE, "torch"), (table.VIEWS, "torch"), (table.TORCH, "torch"),
        (table.METHODS, "torch.Tensor"), (table.VIEW_METHODS, "torch.Tensor"),
        (table.FUNCTIONAL, "torch.nn.functional"),
    ):  # fmt: skip
        found = {signature.partition("(")[0] for signature, _ in table.rows(text)}
        assert found - known[module] - {"astype"} == set(), module
    assert set(vars(nn)) & known["torch.nn"] > {"Conv2d", "ReLU", "NLLLoss"}


@pytest.mark.parametrize(
    ("owner", "name", "advice"),
    [
        (torch, "catt", "did you mean torch.cat?"),
        (torch, "vmap", "write the function for a batch"),
        (torch, "cholesky", "PyTorch's, but not here"),
        (nn, "Conv2D", "did you mean torch.nn.Conv2d?"),
        (nn, "Bilinear", "PyTorch's, but not here"),
        (nn, "LSTM", "no recurrent layers"),
        (F, "max_pool", "did you mean torch.nn.functional.max_pool"),
        (torch.optim, "Adm", "did you mean torch.optim.Adam?"),
        (torch.optim.lr_scheduler, "StepLr", "did you mean torch.optim.lr_scheduler.StepLR?"),
        (torch.utils.data, "Dataloader", "did you mean torch.utils.data.DataLoader?"),
        (nn.init, "kaiming_normall_", "did you mean torch.nn.init.kaiming_normal_?"),
        (torch.zeros(1), "unsqeeze", "did you mean Tensor.unsqueeze?"),
        (torch.zeros(1), "cholesky", "PyTorch's, but not here"),
        (nn.ReLU(), "paramters", "did you mean ReLU.parameters?"),
        (nn.Linear(1, 1), "weigth", "did you mean Linear.weight?"),
        (nn, "Relu", "did you mean torch.nn.ReLU?"),
        (nn, "crossentropyloss", "did you mean torch.nn.CrossEntropyLoss?"),
        (torch.optim, "swa_utils", "AveragedModel of tinygrad_cnn.optim"),
        (torch.utils, "tensorboard", "train.fit keeps a history"),
        (torch.autograd, "gradcheck", "use tinygrad_cnn.check.check_gradients"),
        (torch.backends, "cuddn", "torch.backends has no attribute 'cuddn'"),
        (nn.utils, "clip_grads_norm", "did you mean torch.nn.utils.clip_grad_norm"),
        (torch.hub, "load_state_dict", "did you mean torch.hub.load_state_dict_from_url?"),
    ],
)
def test_a_missing_name_says_what_to_use(owner: object, name: str, advice: str) -> None:
    with pytest.raises(AttributeError, match=re.escape(advice)):
        getattr(owner, name)
    assert not hasattr(owner, name)


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.max_pool2d(torch.zeros(1, 1, 2, 2), 2, return_indices=True),
        lambda: torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], amsgrad=True),
        lambda: nn.InstanceNorm2d(2, track_running_stats=True),
    ],
)
def test_options_that_are_not_here_are_refused(call) -> None:
    with pytest.raises(NotImplementedError, match="is not here"):
        call()
