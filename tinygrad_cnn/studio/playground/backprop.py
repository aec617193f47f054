"""One step of gradient descent in full: forward, backward and update, layer by layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn.derivation.notation import fraction
from tinygrad_cnn.derivation.parts import Factor, Item
from tinygrad_cnn.nn import MLP
from tinygrad_cnn.studio.explain.equations import OpEquation, as_mathml
from tinygrad_cnn.studio.explain.weight import chain_factor
from tinygrad_cnn.studio.playground.network import (
    LARGEST,
    LOSSES,
    PENALTIES,
    LayerValues,
    NetworkDesign,
    PlaneValues,
    arrays_of,
    penalty_of,
    results,
)
from tinygrad_cnn.studio.playground.points import features_of
from tinygrad_cnn.support.text import citation

__all__ = ["Backprop", "LayerEquations", "LayerStep", "backprop"]

ARGUMENT = re.compile(r"(?<![\\a-zA-Z])x(?![a-zA-Z])")  # of an activation, in its LaTeX


@dataclass(frozen=True)
class LayerEquations:
    """The equations of a layer, for one entry of each array.

    Attributes
    ----------
    z, output : OpEquation
        Forward: the weighted sum, and its activation.
    flowing, derivative : OpEquation or None
        Backward: the local derivatives above and in the layer. For the output of a loss that is
        computed of its z, `flowing` is the derivative of the loss with respect to that.
    weight : OpEquation
        The derivative of z with respect to a weight.
    chain : OpEquation
        The chain rule from the loss to the weights of the layer.
    """

    z: OpEquation
    output: OpEquation
    flowing: OpEquation | None
    derivative: OpEquation | None
    weight: OpEquation
    chain: OpEquation


@dataclass(frozen=True)
class LayerStep:
    """A layer in one step. What belongs to points has a row for each of them.

    Attributes
    ----------
    inputs, z, output : list of list of float
        The values that come in, the weighted sums and their activations.
    flowing, derivative : list of list of float, or None
        The gradient of the loss with respect to `output`, and the derivative of the activation.
        None for the output layer if the loss is computed of its z.
    delta : list of list of float
        The gradient of the loss with respect to z: `flowing` times `derivative`.
    parameters, gradients, penalties, updated : LayerValues
        Before the step; the gradients of the loss, which is an average over the points; those of
        the penalty; and after the step.
    equations : LayerEquations
    """

    inputs: list[list[float]]
    z: list[list[float]]
    output: list[list[float]]
    flowing: list[list[float]] | None
    derivative: list[list[float]] | None
    delta: list[list[float]]
    parameters: LayerValues
    gradients: LayerValues
    penalties: LayerValues
    updated: LayerValues
    equations: LayerEquations


@dataclass(frozen=True)
class Backprop:
    """One step of gradient descent.

    Attributes
    ----------
    loss : float
        Averaged over the points, without `penalty`.
    penalty : float
    loss_equation, update : OpEquation
        Of one point, and of one weight.
    layers : list of LayerStep
    """

    loss: float
    penalty: float
    loss_equation: OpEquation
    update: OpEquation
    layers: list[LayerStep]


def backprop(
    model: MLP, about: NetworkDesign, points: PlaneValues, classes: PlaneValues, lr: float
) -> Backprop:
    """Return one step of gradient descent for points; the network stays as it is.

    Parameters
    ----------
    model : MLP
    about : NetworkDesign
    points : ndarray of shape (N, 2)
    classes : ndarray of shape (N, 1)
        0 or 1.
    lr : float
    """
    kind = LOSSES[about.loss]
    parameters = list(model.parameters())
    before, after = results(model, features_of(points, about.features))
    loss = kind.compute(before[-1], after[-1], classes)
    outputs = after[1:-1] if kind.of_z else after[1:]
    found = tg.grad(loss, [*parameters, *before, *outputs], retain_graph=True)
    gradients, rest = found[: len(parameters)], found[len(parameters) :]
    deltas, flowing = rest[: len(before)], rest[len(before) :]
    slopes = [
        tg.grad(output, z, np.ones(output.shape), retain_graph=True)[0]
        for z, output in zip(before, outputs, strict=False)
    ]
    penalty = penalty_of(model, about)
    penalties = [np.zeros(parameter.shape) for parameter in parameters]
    if penalty is not None:
        weights = [linear.weight for linear in model.fc]
        penalties[::2] = tg.grad(penalty, weights)
    updated = [
        np.clip(parameter.data - lr * (gradient + other), -LARGEST, LARGEST)
        for parameter, gradient, other in zip(parameters, gradients, penalties, strict=True)
    ]
    groups = ([parameter.data for parameter in parameters], gradients, penalties, updated)
    equations = _equations(len(about.features), tuple(about.hidden), about.activation, about.loss)
    parts = zip(*(arrays_of(group) for group in groups), strict=True)
    layers = [
        LayerStep(
            inputs=after[k].data.tolist(),
            z=before[k].data.tolist(),
            output=after[k + 1].data.tolist(),
            flowing=flowing[k].tolist() if k < len(outputs) else None,
            derivative=slopes[k].tolist() if k < len(outputs) else None,
            delta=deltas[k].tolist(),
            parameters=own,
            gradients=of_loss,
            penalties=of_penalty,
            updated=new,
            equations=written,
        )
        for k, ((own, of_loss, of_penalty, new), written) in enumerate(
            zip(parts, equations, strict=True)
        )
    ]
    return Backprop(
        loss=loss.item(),
        penalty=0.0 if penalty is None else penalty.item(),
        loss_equation=_equation(f"E = {kind.formula}", f"E = {kind.latex}", kind.reference),
        update=_update(about),
        layers=layers,
    )


# --- equations -----------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _equations(
    features: int, hidden: tuple[int, ...], activation: str, loss_name: str
) -> list[LayerEquations]:
    """Return the equations of all layers, which are the same for all parameters and points."""
    model = MLP((features, *hidden, 1), activation, rng=np.random.default_rng(0))
    kind = LOSSES[loss_name]
    before, after = results(model, np.ones((1, features), np.float32))
    loss = kind.compute(before[-1], after[-1], np.ones((1, 1), np.float32))
    found = []
    for k, linear in enumerate(model.fc):
        product = tg.derive(loss, linear.weight, names=model).product
        below = 1 + 2 * (len(model.fc) - 1 - k)  # factors below z of the output
        factors = product[-below:] if kind.of_z else product
        own, *above = reversed([_of_factor(factor) for factor in factors])
        derivative, flowing = above[:2] if above else (None, _of_z(factors[0]))
        found.append(
            LayerEquations(
                z=_sum(k, before[k]),
                output=_activation(k, after[k + 1], k == len(model.fc) - 1),
                flowing=flowing,
                derivative=derivative,
                weight=own,
                chain=_chain(factors, kind.of_z),
            )
        )
    return found


def _equation(text: str, latex: str, reference: str = "") -> OpEquation:
    return OpEquation(text, as_mathml(latex), reference)


def _of_factor(item: Item) -> OpEquation:
    factor = chain_factor(item)
    return OpEquation(factor.text, factor.mathml, factor.reference)


def _of_z(factor: Item) -> OpEquation:
    """Return the derivative of a loss with respect to z of the output, which a factor is of."""
    assert isinstance(factor, Factor)
    top, _ = factor.indices
    left = fraction("E", factor.top.latex(top))
    return _equation(f"∂E/∂{factor.top.text(top)} = Y − y", rf"{left} = Y - y")


def _chain(factors: Sequence[Item], of_z: bool) -> OpEquation:
    """Return the product of the factors, as the derivative of the loss."""
    parts = [(each.top, each.bottom) for each in factors if isinstance(each, Factor)]
    top, bottom = parts[0][0], parts[-1][1]
    first = [f"∂E/∂{top.text()}"] if of_z else []
    first_latex = [fraction("E", top.latex())] if of_z else []
    texts = first + [f"∂{above.text()}/∂{below.text()}" for above, below in parts]
    latex = first_latex + [fraction(above.latex(), below.latex()) for above, below in parts]
    left, right = fraction("E", bottom.latex()), r" \cdot ".join(latex)
    return _equation(f"∂E/∂{bottom.text()} = {' · '.join(texts)}", f"{left} = {right}")


def _sum(k: int, z: tg.Tensor) -> OpEquation:
    """Return the weighted sums of a layer."""
    assert z.node is not None
    given = "x_j" if k == 0 else rf"\alpha^{{{k}}}_j"
    up = f"^{{{k + 1}}}"
    latex = rf"z{up}_i = \sum_j w{up}_{{ij}}\,{given} + b{up}_i"
    return _equation("zᵢ = Σⱼ wᵢⱼ·xⱼ + bᵢ", latex, citation(z.node.op.equation))


def _activation(k: int, output: tg.Tensor, last: bool) -> OpEquation:
    """Return the activation of a layer, written with its z."""
    assert output.node is not None
    op = output.node.op
    name, z = ("Y", f"z^{{{k + 1}}}") if last else (rf"\alpha^{{{k + 1}}}_i", f"z^{{{k + 1}}}_i")
    written = ARGUMENT.sub(lambda _: z, op.latex)
    text = f"{'Y' if last else 'α'} = {op.formula}, x = z"
    return _equation(text, f"{name} = {written}", citation(op.equation))


def _update(about: NetworkDesign) -> OpEquation:
    """Return the update of a weight."""
    gradient, latex = "∂E/∂w", r"\frac{\partial E}{\partial w}"
    if about.penalty is not None and about.rate:
        penalty = PENALTIES[about.penalty]
        gradient = f"({gradient} + {penalty.formula})"
        latex = rf"\left({latex} + {penalty.latex}\right)"
    return _equation(f"w ← w − η·{gradient}", rf"w \leftarrow w - \eta\,{latex}", "eq 27")
