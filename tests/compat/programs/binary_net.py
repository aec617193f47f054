"""Functions with their own backward: binary weights, a straight-through sign, a swish."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class BinaryActivation(torch.autograd.Function):
    """Binarize, with a gradient where the input is between -1 and 1."""

    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return input.sign()

    @staticmethod
    def backward(ctx, grad_output):
        (input,) = ctx.saved_tensors
        grad_input = grad_output.clone()
        grad_input[input.ge(1)] = 0
        grad_input[input.le(-1)] = 0
        return grad_input


class SwishImplementation(torch.autograd.Function):
    @staticmethod
    def forward(ctx, i):
        result = i * torch.sigmoid(i)
        ctx.save_for_backward(i)
        return result

    @staticmethod
    def backward(ctx, grad_output):
        i = ctx.saved_tensors[0]
        sigmoid_i = torch.sigmoid(i)
        return grad_output * (sigmoid_i * (1 + i * (1 - sigmoid_i)))


class LinearFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, weight, bias=None):
        ctx.save_for_backward(input, weight, bias)
        output = input.mm(weight.t())
        if bias is not None:
            output += bias.unsqueeze(0).expand_as(output)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        input, weight, bias = ctx.saved_tensors
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_input = grad_output.mm(weight)
        if ctx.needs_input_grad[1]:
            grad_weight = grad_output.t().mm(input)
        if bias is not None and ctx.needs_input_grad[2]:
            grad_bias = grad_output.sum(0)
        return grad_input, grad_weight, grad_bias


class Cube(torch.autograd.Function):
    """Its backward can be differentiated again."""

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        (x,) = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output * 3 * x**2


class Exp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, i):
        result = i.exp()
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx, grad_output):
        (result,) = ctx.saved_tensors
        return grad_output * result


class BinConv2d(nn.Conv2d):
    def forward(self, input):
        binary = BinaryActivation.apply(input)
        bw = self.weight
        bw = bw - bw.view(bw.size(0), -1).mean(-1).view(-1, 1, 1, 1)
        scale = bw.abs().view(bw.size(0), -1).mean(-1).view(-1, 1, 1, 1).detach()
        return F.conv2d(
            binary, scale * BinaryActivation.apply(bw), self.bias, self.stride, self.padding
        )


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(6, affine=False)
        self.conv2 = BinConv2d(6, 6, 3, padding=1)
        self.weight = nn.Parameter(torch.zeros(4, 6 * 16))
        self.bias = nn.Parameter(torch.zeros(4))
        self.linear = LinearFunction.apply

    def forward(self, x):
        x = self.bn1(self.conv1(x))
        x = self.conv2(x)
        x = F.avg_pool2d(SwishImplementation.apply(x), 2)
        return self.linear(x.flatten(1), self.weight, self.bias)


def run(given):
    given.train(Net(), given.randn(3, 1, 10, 10), given.randint(0, 4, (3,)))

    x = given.randn(5).requires_grad_()
    y = Exp.apply(Cube.apply(x) * 0.1)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.pow(2).sum(), x, create_graph=True)
    second.sum().backward()
    given.record("orders", [y, first, second, x.grad])
    with torch.no_grad():
        assert not Cube.apply(x).requires_grad
