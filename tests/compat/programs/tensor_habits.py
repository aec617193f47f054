"""What people do with tensors around a model: views, masks, types, counts, prints."""

import numpy as np
import torch


def views(given):
    x = torch.arange(12.0).reshape(3, 4)
    y = x.view(-1)
    y[0] = 100.0
    x[1] += 1
    x[:, 2] *= 2
    x[x > 90] = -1
    row = x[2]
    row.add_(0.5)
    x.t()[0, 1] = 7.0
    given.record("written through views", x)
    given.record("the view", y)
    z = x.clone()
    z[[0, 2], 1:3] = torch.zeros(2, 2)
    z[..., -1] = torch.tensor([5.0, 6.0, 7.0])
    given.record("indexed", z)
    given.record("not the original", x)
    given.record("strided", x[::2, 1::2])
    given.record("new axes", x[None, :, None].squeeze(0).size(1))
    a, b = x[:, :2], x[:, 2:]
    a.copy_(b)
    given.record("copied", x)
    flipped = torch.flip(x, [0, 1])
    given.record("flipped", flipped)
    given.record("rolled", torch.roll(x, shifts=1, dims=0))
    given.record("rotated", x.transpose(0, 1).flip(0))


def types(given):
    ints = torch.tensor([7, -7, 3])
    given.record("floor division", ints // 2)
    given.record("true division", ints / 2)
    given.record("remainder", ints % 4)
    given.record("powers", 2 ** torch.arange(4))
    given.record("mean", ints.float().mean())
    assert ints.dtype == torch.int64
    assert (ints > 0).dtype == torch.bool
    assert (ints / 2).dtype == torch.get_default_dtype()
    assert ints.double().dtype is torch.float64 or ints.double().dtype == torch.float64
    assert torch.tensor(1.5).dtype.is_floating_point
    assert not ints.is_floating_point()
    assert torch.zeros(2, dtype=torch.uint8).dtype == torch.uint8
    assert ints.to(torch.float32).dtype == torch.float32
    assert str(torch.zeros(1).long().dtype) == "torch.int64"
    mask = ints > 0
    given.record("and or not", [(mask & (ints < 5)).sum(), (mask | ~mask).sum(), (~mask).sum()])
    given.record("any all", [mask.any().item(), mask.all().item(), bool((ints == ints).all())])
    given.record("boolean mean", mask.double().mean())
    given.record("minus", [-ints, abs(ints), ints.neg(), 1 - ints])
    given.record("reversed", [2 / torch.tensor(4.0), 2 - torch.tensor(4.0), 3 % torch.tensor(2)])
    total = 0
    for value in ints:
        total += value
    given.record("total", total)
    assert len(ints) == 3
    assert ints[0] == 7
    assert int(ints[1]) == -7
    assert float(torch.tensor([2.5])) == 2.5
    assert f"{torch.tensor(2.5).item():.2f}" == "2.50"
    assert [int(i) for i in ints] == ints.tolist()
    assert tuple(torch.zeros(2, 3).shape) == (2, 3)
    assert torch.zeros(2, 3).shape == torch.Size([2, 3])
    assert torch.zeros(2, 3).numel() == torch.zeros(2, 3).nelement() == 6
    assert torch.zeros(2, 3).dim() == torch.zeros(2, 3).ndim == 2
    assert "%d" % torch.tensor(3) == "3"
    n, c = torch.zeros(2, 3).size()
    assert (n, c) == (2, 3)
    assert torch.is_tensor(ints)
    assert isinstance(ints, torch.Tensor)


def numpy_and_back(given):
    array = np.arange(6.0).reshape(2, 3)
    x = torch.from_numpy(array)
    x += 1
    given.record("shared with NumPy", array)
    given.record("np functions", np.mean(x.numpy()))
    given.record("as array", np.asarray(x) * 2)
    copy = torch.tensor(array)
    copy.zero_()
    given.record("a copy is not shared", array)
    given.record("stacked", torch.stack([torch.as_tensor(row) for row in array]))
    images = np.transpose(x.unsqueeze(0).numpy(), (0, 2, 1))
    given.record("transposed", torch.from_numpy(np.ascontiguousarray(images)))


def selection(given):
    x, w = given.randn(4, 5), given.randn(4, 5)
    index = torch.tensor([3, 0])
    given.record("index_select", x.index_select(0, index))
    given.record("gathered", x.gather(1, torch.tensor([[0, 1], [4, 4], [2, 0], [1, 3]])))
    given.record("masked", torch.masked_select(x, x > 0.5))
    given.record("filled", x.masked_fill(x < 0, 0.0))
    given.record("where", torch.where(x > w, x, torch.zeros_like(x)))
    given.record("where scalar", torch.where(x > 0, x, torch.tensor(-1.0)))
    given.record("scattered", torch.zeros(4, 5).scatter(1, torch.tensor([[1], [2], [0], [4]]), 1.0))
    given.record("added up", torch.zeros(3, 5).index_add_(0, torch.tensor([0, 2, 0, 1]), x))
    given.record(
        "scatter_add", torch.zeros(4, 2).scatter_add(1, torch.tensor([[0, 1, 0, 1, 1]] * 4), x)
    )
    values, order = torch.sort(x, dim=1, descending=True)
    given.record("sorted", values)
    given.record("order", order)
    given.record("argsort", x[:, 0].argsort())
    top = x.topk(2, dim=1)
    given.record("topk", top.values)
    given.record("places", top.indices)
    given.record("median", x.median())
    given.record("kth", x.flatten().kthvalue(3).values)
    given.record("nonzero", torch.nonzero(x > 1))
    labels = torch.tensor([2, 0, 2, 1, 2])
    names, counts = torch.unique(labels, return_counts=True)
    given.record("counts", [names, counts])
    given.record("bincount", torch.bincount(labels, minlength=4))
    given.record("triangles", [torch.tril(x[:, :4]), torch.triu(x[:, :4], diagonal=1)])
    given.record("diagonal", torch.diagonal(x[:, :4]))
    given.record("cumsum", x.cumsum(dim=1))
    given.record("differences", x[1:] - x[:-1])
    parts = torch.chunk(x, 2, dim=1)
    given.record("chunks", [part.sum() for part in parts])
    given.record("split", [part.sum() for part in torch.split(x, [1, 4], dim=1)])
    given.record("cat", torch.cat((x, w), dim=-1))
    given.record("repeat", [x[:2, :2].repeat(2, 3).sum(), x[0].repeat_interleave(2).sum()])
    given.record("expand", x[:, :1].expand(-1, 3))
    given.record("moved", x.unsqueeze(0).movedim(0, -1).shape[-1])
    given.record("outer", torch.outer(x[0], w[0]))


def mathematics(given):
    x = given.rand(3, 4) + 0.1
    for name in ("exp", "log", "sqrt", "rsqrt", "sin", "cos", "tan", "atan", "sinh", "cosh", "erf",
                 "log1p", "expm1", "log2", "log10", "reciprocal", "sigmoid", "tanh", "neg", "ceil",
                 "trunc", "square"):  # fmt: skip
        leaf = x.clone().requires_grad_()
        y = getattr(torch, name)(leaf)
        y.sum().backward()
        given.record(name, y)
        given.record(name + " slope", leaf.grad)
    given.record("std", [x.std(), x.var(unbiased=False), x.std(dim=0).mean(), x.var(dim=1).sum()])
    given.record("norms", [x.norm(), x.norm(p=1), torch.linalg.norm(x), x.norm(dim=1).sum()])
    given.record("other powers", [(x**0.5).sum(), x.pow(3).mean(), torch.pow(x, x).sum()])
    given.record("lerp", torch.lerp(x, x * 2, 0.3))
    given.record("addmm", torch.addmm(torch.ones(3, 3), x, x.t()))
    given.record("baddbmm", torch.bmm(x.unsqueeze(0), x.t().unsqueeze(0)))
    given.record("einsum", torch.einsum("ij,kj->ik", x, x))
    given.record("tensordot", torch.tensordot(x, x, dims=([1], [1])))
    given.record("dot", [torch.dot(x[0], x[1]), x[0] @ x[1], torch.mv(x, x[0]).sum()])
    given.record("softmax", torch.softmax(x, dim=0))
    given.record("clamp", x.clamp(0.3, 0.6))
    given.record("atan2", torch.atan2(x, x * 2))
    given.record("in place", x.clone().add_(1).mul_(2).sub_(0.5).div_(3).clamp_(max=0.9).sqrt_())
    given.record("addcmul", torch.addcmul(x, x, x, value=0.5))
    given.record("isfinite", [torch.isnan(x).any(), torch.isfinite(x).all(), torch.isinf(x).sum()])
    given.record("linspace", torch.linspace(0, 1, 5))
    given.record("close", [torch.allclose(x, x + 1e-12), torch.equal(x, x), (x == x).all()])
    given.record("ones like", [torch.ones_like(x), torch.full_like(x, 3.0), x.new_zeros(3, 4)])


def run(given):
    views(given)
    types(given)
    numpy_and_back(given)
    selection(given)
    mathematics(given)
