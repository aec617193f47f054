"""The text's perceptron, one step of training: every equation by hand beside autograd's number.

Two inputs, two hidden sigmoids, a softmax of three, and a bias on every connection. The middle
column is the text's formula in plain Python arithmetic; the right one is read from the recorded
computation. Where the text follows one of several paths (eq 49, 53), the sum over all of them is
shown as well, for it is what training needs. Then gradient descent runs until the label is right.

    python examples/perceptron_step_by_step.py
"""

from __future__ import annotations

from math import exp

import numpy as np

import tinygrad_cnn as tg

X = [0.7, -0.6]
LABEL = 2
W1 = [[0.5, -1.2], [0.9, 0.4]]  # W1[j][p]: from input p to hidden value j
B1 = [[0.1, 0.2], [-0.3, 0.1]]
W2 = [[1.1, -0.7], [0.3, 0.8], [-0.9, 0.6]]  # W2[i][j]: from hidden value j to output i
B2 = [[0.2, 0.1], [0.0, -0.2], [-0.1, 0.1]]
LEARNING_RATE = 0.5

Row = tuple[str, str, float, float]  # equation, quantity, by hand, by autograd


def parameters() -> list[tg.Tensor]:
    return [tg.Tensor(np.array(values), requires_grad=True) for values in (W1, B1, W2, B2)]


def forward(w1: tg.Tensor, b1: tg.Tensor, w2: tg.Tensor, b2: tg.Tensor) -> list[tg.Tensor]:
    """Return z¹, α, z² and Y."""
    z1 = (w1 * np.array(X) + b1).sum(axis=1)
    alpha = tg.sigmoid(z1)
    z2 = (alpha * w2 + b2).sum(axis=1)
    return [z1, alpha, z2, tg.softmax(z2)]


def one_step() -> list[Row]:
    """Return each equation's value twice, for output and hidden value 0 where it has indices."""
    rows: list[Row] = []

    def row(equation: str, quantity: str, by_hand: float, by_autograd: float) -> None:
        rows.append((equation, quantity, float(by_hand), float(by_autograd)))

    w1, b1, w2, b2 = parameters()
    tz1, talpha, tz2, tY = forward(w1, b1, w2, b2)
    y = tg.data.one_hot(LABEL, classes=3, dtype=np.float64)
    tE = tg.squared_error(tY, y, reduction="none")
    E_tot = tE.sum()

    # Forward
    z1 = [sum(X[p] * W1[j][p] + B1[j][p] for p in range(2)) for j in range(2)]
    alpha = [1 / (1 + exp(-z)) for z in z1]
    z2 = [sum(alpha[j] * W2[i][j] + B2[i][j] for j in range(2)) for i in range(3)]
    Y = [exp(z) / sum(map(exp, z2)) for z in z2]
    E = [(Y[i] - y[i]) ** 2 / 2 for i in range(3)]
    row("14, 25", "z of hidden value 0", z1[0], tz1[0].item())
    row("15", "its activated value α", alpha[0], talpha[0].item())
    row("14, 25", "z of output 0", z2[0], tz2[0].item())
    row("16", "prediction Y of output 0", Y[0], tY[0].item())
    row("17", "its error E", E[0], tE[0].item())
    row("18", "the error of all outputs", sum(E), E_tot.item())

    def gradient(error: tg.Tensor, wrt: tg.Tensor) -> np.ndarray:
        return tg.grad(error, wrt, retain_graph=True)[0]

    # The output layer
    S_slope = [Y[i] * (1 - Y[i]) for i in range(3)]
    delta = [(Y[i] - y[i]) * S_slope[i] for i in range(3)]
    row("23", "∂E_0/∂Y_0", Y[0] - y[0], gradient(tE[0], tY)[0])
    row("35", "∂S(z_0)/∂z_0", S_slope[0], gradient(tY[0], tz2)[0])
    row("27", "∂E_0/∂w_00, last layer", delta[0] * alpha[0], gradient(tE[0], w2)[0, 0])
    row("28", "∂E_0/∂b_00, last layer", delta[0], gradient(tE[0], b2)[0, 0])

    # ∂E_tot/∂z_k: an output's z moves every output, so the errors' shares are summed
    dz2 = [sum((Y[i] - y[i]) * Y[i] * ((i == k) - Y[k]) for i in range(3)) for k in range(3)]
    row("27, sum", "∂E_tot/∂w_00, last layer", dz2[0] * alpha[0], gradient(E_tot, w2)[0, 0])
    row("28, sum", "∂E_tot/∂b_00, last layer", dz2[0], gradient(E_tot, b2)[0, 0])

    # The hidden layer, along the path through z_0 alone: the other z are taken as constants
    sigma_slope = [a * (1 - a) for a in alpha]
    row("45", "∂α/∂z of hidden value 0", sigma_slope[0], gradient(talpha[0], tz1)[0])
    path = tg.where(np.array([True, False, False]), tz2, tz2.detach())
    E_path = tg.squared_error(tg.softmax(path), y, reduction="none")[0]
    by_hand = delta[0] * W2[0][0] * sigma_slope[0]
    row("49", "∂E_0/∂w_00, first layer, by z_0", by_hand * X[0], gradient(E_path, w1)[0, 0])
    row("53", "∂E_0/∂b_00, first layer, by z_0", by_hand, gradient(E_path, b1)[0, 0])
    by_hand = sum(dz2[k] * W2[k][0] for k in range(3)) * sigma_slope[0]
    row("49, sum", "∂E_tot/∂w_00, first layer", by_hand * X[0], gradient(E_tot, w1)[0, 0])
    row("53, sum", "∂E_tot/∂b_00, first layer", by_hand, gradient(E_tot, b1)[0, 0])
    return rows


def descend(steps: int) -> list[tuple[float, float]]:
    """Train, and return E_tot and the label's Y before each step and after the last."""
    weights = parameters()
    y = tg.data.one_hot(LABEL, classes=3, dtype=np.float64)
    history: list[tuple[float, float]] = []
    for _ in range(steps + 1):
        Y = forward(*weights)[-1]
        E_tot = tg.squared_error(Y, y)
        history.append((E_tot.item(), Y[LABEL].item()))
        for weight, gradient in zip(weights, tg.grad(E_tot, weights), strict=True):
            weight.data -= LEARNING_RATE * gradient
    return history


def main() -> tuple[list[Row], list[tuple[float, float]]]:
    rows = one_step()
    print(f"{'equation':10}{'quantity':36}{'by hand':>12}{'autograd':>12}")
    for equation, quantity, by_hand, by_autograd in rows:
        print(f"{equation:10}{quantity:36}{by_hand:12.8f}{by_autograd:12.8f}")
    worst = max(abs(by_hand - by_autograd) for *_, by_hand, by_autograd in rows)
    print(f"\nlargest difference: {worst:.0e}\n")

    history = descend(steps=40)
    for step in range(0, 41, 8):
        error, probability = history[step]
        print(f"step {step:2}   E_tot {error:.4f}   Y of the label {probability:.4f}")
    return rows, history


if __name__ == "__main__":
    main()
