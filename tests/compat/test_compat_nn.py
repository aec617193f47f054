"""Modules, optimizers and data of `compat.torch`, where programs do not cover them."""

from __future__ import annotations

import io
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.compat import torch
from tinygrad_cnn.compat.torch import nn, optim
from tinygrad_cnn.compat.torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(2, 2)]  # a list: not part of the model
        self.features = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3), act=nn.ReLU()))
        self.fc = nn.Linear(2, 3, bias=False)
        self.scale = nn.Parameter(torch.ones(3))
        self.constant = torch.ones(3)
        self.register_buffer("seen", torch.zeros(1))
        self.register_buffer("temporary", torch.zeros(1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.flatten(self.features(x).mean([2, 3]), 1)
        return self.fc(x) * self.scale


def test_a_module_has_what_pytorch_registers() -> None:
    net = Net()
    names = ["scale", "seen", "features.conv.weight", "features.conv.bias", "fc.weight"]
    assert list(net.state_dict()) == names
    assert [n for n, _ in net.named_buffers()] == ["seen", "temporary"]
    assert [n for n, _ in net.named_children()] == ["features", "fc"]
    assert isinstance(net.features.conv, nn.Conv2d)
    assert not isinstance(nn.BatchNorm1d(2), nn.BatchNorm2d)
    assert net._modules["fc"] is net.fc
    assert [n for n, _ in net.named_parameters("net", recurse=False)] == ["net.scale"]
    assert len(list(net.parameters(recurse=False))) == 1
    assert type(net(torch.zeros(1, 1, 4, 4))) is torch.Tensor


def test_a_state_dict_has_tensors_of_the_same_memory() -> None:
    net, other = Net(), Net()
    state = net.state_dict()
    state["scale"].fill_(5.0)
    assert net.scale.tolist() == [5.0, 5.0, 5.0]
    held = other.scale
    assert other.load_state_dict(state) == ([], [])
    assert other.scale is held
    assert held.tolist() == [5.0, 5.0, 5.0]
    with pytest.raises(RuntimeError, match=r"fc\.weight is missing; other is unexpected"):
        other.load_state_dict({**{k: v for k, v in state.items() if k != "fc.weight"}, "other": 1})
    keys = other.load_state_dict({"scale": state["scale"]}, strict=False)
    assert "fc.weight" in keys.missing_keys
    with pytest.raises(RuntimeError, match=r"scale has shape \(2,\), expected \(3,\)"):
        other.load_state_dict({"scale": torch.ones(2)}, strict=False)


def test_kinds_and_gradients_of_a_whole_model() -> None:
    net = Net().double()
    assert net.fc.weight.dtype == torch.float64
    net(torch.ones(1, 1, 4, 4, dtype=torch.float64)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert net.scale.grad.tolist() == [0.0, 0.0, 0.0]
    net.zero_grad()
    assert net.scale.grad is None
    with pytest.raises(RuntimeError, match="only 'cpu'"):
        net.cuda()


def test_initializers_change_parameters_in_place() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 16, 3)
    bound = 1 / np.sqrt(8 * 9)
    assert 0.9 * bound < conv.weight.abs().max().item() <= bound
    assert 0 < conv.bias.abs().max().item() <= bound
    weight = conv.weight
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    assert conv.weight is weight
    assert weight.std().item() == pytest.approx(np.sqrt(2 / (16 * 9)), rel=0.1)
    nn.init.constant_(conv.bias, 0.5)
    assert conv.bias.tolist() == [0.5] * 16
    q = nn.init.orthogonal_(torch.empty(3, 5))
    assert torch.allclose(q @ q.t(), torch.eye(3), atol=1e-6)
    with pytest.raises(ValueError, match="mode is 'in'"):
        nn.init.kaiming_uniform_(conv.weight, mode="in")


def test_a_module_is_drawn_and_derived_as_ours() -> None:
    net = Net()
    assert "conv2d" in tg.draw(net(torch.zeros(1, 1, 4, 4))).source
    assert net.summary((1, 4, 4)).parameters == 20 + 6 + 3


def test_a_model_of_ours_lists_parameters_of_compat() -> None:
    model = tg.nn.Sequential(nn.Linear(2, 2), tg.nn.ReLU())
    assert len(list(model.parameters())) == 2


# --- files ---------------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_as_tensors(tmp_path: Path) -> None:
    net, path = Net(), tmp_path / "c.pt"
    sgd = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(2, 1, 4, 4)).sum().backward()
    sgd.step()
    torch.save(
        {"epoch": 3, "net": net.state_dict(), "sgd": sgd.state_dict(), "seen": [1, "a"]}, path
    )
    other = Net()
    again = optim.SGD(other.parameters(), lr=0.5, momentum=0.9)
    saved = torch.load(path, map_location="cpu")
    assert isinstance(saved["net"]["scale"], torch.Tensor)
    other.load_state_dict(saved["net"])
    again.load_state_dict(saved["sgd"])
    assert (saved["epoch"], saved["seen"], again.param_groups[0]["lr"]) == (3, [1, "a"], 0.1)
    assert torch.equal(other.fc.weight, net.fc.weight)


def test_a_state_dict_is_a_plain_file_and_a_pickle_is_refused(tmp_path: Path) -> None:
    net, path = Net(), tmp_path / "w.safetensors"
    torch.save(net.state_dict(), path)
    assert tg.load(path).keys() == net.state_dict().keys()
    assert torch.equal(torch.load(path)["scale"], net.scale)
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(RuntimeError, match=r"safetensors\.torch\.save_file"):
        torch.load(tmp_path / "model.pt")
    with pytest.raises(TypeError, match=r"save its state_dict\(\)"):
        torch.save(net, path)
    with pytest.raises(TypeError, match="expected a path"):
        torch.save(net.state_dict(), io.BytesIO())


# --- optimizers ----------------------------------------------------------------------------------


def test_groups_keep_further_entries_and_change_the_rate() -> None:
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    groups = [{"params": a, "name": "a"}, {"params": [b], "lr": 0.0}]
    sgd = optim.SGD(groups, lr=0.1, foreach=True)
    assert sgd.param_groups[0]["name"] == "a"
    (a.sum() + b.sum()).backward()
    sgd.step()
    assert a.tolist() == pytest.approx([0.9, 0.9])
    assert b.tolist() == [1.0, 1.0]
    for group in sgd.param_groups:
        group["lr"] = 1.0
    sgd.step()
    assert b.tolist() == [0.0, 0.0]
    sgd.zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0.0, 0.0]
    assert isinstance(sgd, optim.Optimizer)


def test_an_optimizer_of_your_own_steps_over_groups() -> None:
    class Signs(optim.Optimizer):
        def __init__(self, params: object, lr: float = 0.5) -> None:
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self, closure: object = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.add_(p.grad.sign(), alpha=-group["lr"])
                        self.state[p]["steps"] = 1

    p = nn.Parameter(torch.ones(2))
    optimizer = Signs([p])
    (p * torch.tensor([1.0, -1.0])).sum().backward()
    optimizer.step()
    assert p.tolist() == [0.5, 1.5]
    optimizer.zero_grad()
    assert p.grad is None


def test_clipping_returns_the_norm_and_scales_in_place() -> None:
    p = nn.Parameter(torch.tensor([3.0, 4.0]))
    (p * p).sum().backward()
    norm = nn.utils.clip_grad_norm_(p, max_norm=1.0)
    assert norm.item() == pytest.approx(10.0)
    assert p.grad.norm().item() == pytest.approx(1.0, rel=1e-5)
    nn.utils.clip_grad_value_([p], 0.1)
    assert p.grad.tolist() == pytest.approx([0.1, 0.1])
    vector = nn.utils.parameters_to_vector([p])
    nn.utils.vector_to_parameters(vector * 2, [p])
    assert p.tolist() == [6.0, 8.0]


# --- data ----------------------------------------------------------------------------------------


class Squares(Dataset):
    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> tuple[int, dict[str, object]]:
        return index, {"square": torch.tensor([index**2]), "name": str(index)}


def test_a_loader_collates_tuples_dicts_and_texts() -> None:
    batches = list(DataLoader(Squares(), batch_size=3, num_workers=2))
    assert [len(indices) for indices, _ in batches] == [3, 3, 1]
    assert batches[0][0].dtype == torch.int64
    assert batches[0][1]["square"].tolist() == [[0], [1], [4]]
    assert batches[0][1]["name"] == ["0", "1", "2"]
    assert len(DataLoader(Squares(), batch_size=3, drop_last=True)) == 2


def test_a_loader_shuffles_from_the_seed_and_takes_samplers() -> None:
    data = TensorDataset(torch.arange(10), torch.arange(10) * 2)
    orders = []
    for _ in range(2):
        torch.manual_seed(3)
        orders.append([x.tolist() for x, _ in DataLoader(data, 4, shuffle=True)])
    assert orders[0] == orders[1]
    assert sorted(i for batch in orders[0] for i in batch) == list(range(10))
    chosen = DataLoader(data, batch_size=2, sampler=SubsetRandomSampler([1, 3, 5]))
    assert {int(i) for x, _ in chosen for i in x} == {1, 3, 5}
    weighted = DataLoader(data, batch_size=5, sampler=WeightedRandomSampler([0] * 9 + [1], 5))
    assert next(iter(weighted))[0].tolist() == [9] * 5
    with pytest.raises(ValueError, match="shuffle=True and a sampler"):
        DataLoader(data, shuffle=True, sampler=SubsetRandomSampler([1]))


def test_data_sets_are_split_joined_and_cut() -> None:
    data = TensorDataset(torch.arange(10))
    first, second = random_split(data, [7, 3], generator=torch.Generator().manual_seed(0))
    assert sorted(int(x) for part in (first, second) for (x,) in part) == list(range(10))
    assert [len(part) for part in random_split(data, [0.75, 0.25])] == [8, 2]
    both = ConcatDataset([Subset(data, [1, 2]), data])
    assert len(both) == 12
    assert [both[i][0].item() for i in (0, 1, 2, -1)] == [1, 2, 0, 9]
    with pytest.raises(ValueError, match="expected a sum of 10"):
        random_split(data, [5, 4])


def test_switches_of_public_model_files_change_nothing() -> None:
    from tinygrad_cnn.compat.torch.utils import checkpoint, model_zoo

    @torch.jit.unused
    def forward(x: torch.Tensor) -> torch.Tensor:
        return x * 2.0 if not torch.jit.is_scripting() else x

    x = torch.ones(2, requires_grad=True)
    checkpoint.checkpoint(forward, x, use_reentrant=False).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    assert torch.jit.script(forward) is forward
    with pytest.raises(RuntimeError, match=r"safetensors\.torch\.save_file"):
        model_zoo.load_url("https://download.pytorch.org/models/resnet18.pth")


def test_mixed_precision_and_devices_are_switched_off() -> None:
    net, scaler = nn.Linear(2, 1), torch.cuda.amp.GradScaler(enabled=torch.cuda.is_available())
    sgd = optim.SGD(net.parameters(), lr=0.1)
    before = net.weight.clone()
    with torch.autocast("cuda"), torch.cuda.amp.autocast():
        loss = net(torch.ones(1, 2)).sum()
    scaler.scale(loss).backward()
    scaler.step(sgd)
    scaler.update()
    assert torch.allclose(net.weight, before - 0.1)


def test_a_batch_with_one_value_a_channel_is_refused_in_training() -> None:
    norm = nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match=r"expected more than one value a channel in training"):
        norm(torch.ones(1, 3, 1, 1))
    assert norm.running_var.tolist() == [1.0, 1.0, 1.0]
    assert norm.eval()(torch.ones(1, 3, 1, 1)).shape == (1, 3, 1, 1)


def test_the_core_trains_draws_and_derives_a_model_in_pytorchs_style() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x.view(x.size(0), -1))

    model, images = Small(), np.random.default_rng(0).normal(size=(6, 1, 2, 2)).astype("f4")
    batches = tg.data.DataLoader((images, np.arange(6) % 2), batch_size=3)
    history = tg.train.fit(
        model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.1), batches, epochs=1
    )
    assert len(history) == 1
    assert np.isfinite(tg.train.evaluate(model, batches).loss)
    pixels = tg.Tensor(images, requires_grad=True)
    y = model(pixels).sum()
    (gradient,) = tg.grad(y, pixels, retain_graph=True)
    expected = model.fc.weight.detach().numpy().sum(0)
    np.testing.assert_allclose(gradient.reshape(6, 4), np.tile(expected, (6, 1)), rtol=1e-6)
    assert "fc.weight" in tg.draw(y).source
    derived = tg.derive(y, model.fc.weight).text()
    assert "w¹  (2, 4)  fc.weight" in derived
    assert "torch.Size" not in derived


def test_a_convolution_is_shown_and_compiled_as_in_pytorch() -> None:
    layer = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
    text = "Conv2d(3, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False)"
    assert repr(layer) == text
    up = nn.ConvTranspose2d(4, 2, 2, 2, output_padding=1, groups=2)
    text = (
        "ConvTranspose2d(4, 2, kernel_size=(2, 2), stride=(2, 2), output_padding=(1, 1), groups=2)"
    )
    assert repr(up) == text
    text = "Conv2d(2, 2, kernel_size=(1, 1), stride=(1, 1), bias=False, padding_mode=reflect)"
    assert repr(nn.Conv2d(2, 2, 1, padding_mode="reflect", bias=False)) == text
    assert repr(nn.Conv2d(1, 1, 1)) == "Conv2d(1, 1, kernel_size=(1, 1), stride=(1, 1))"
    assert torch.compile(layer, mode="reduce-overhead") is layer
