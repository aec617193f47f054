"""One weight explained: the chain rule from the loss to the weight, written out and measured."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn.derivation import Derivation
from tinygrad_cnn.derivation.notation import fraction
from tinygrad_cnn.derivation.parts import Factor, Gap, Item
from tinygrad_cnn.derivation.typeset import formulas
from tinygrad_cnn.studio.encoding import Maps, encode
from tinygrad_cnn.studio.explain.backward import loss_of
from tinygrad_cnn.studio.explain.equations import as_mathml
from tinygrad_cnn.studio.explain.forward import ExplainError, LayerCall, image_of, watch
from tinygrad_cnn.studio.explain.tables import PrintedSum, print_sum
from tinygrad_cnn.studio.explain.terms import LARGEST
from tinygrad_cnn.support.text import citation
from tinygrad_cnn.train import TrainedModel

__all__ = ["ChainFactor", "Local", "Weight", "chain_factor", "explain_weight"]

STEP = 1e-5
"""Step of the difference quotient: it balances rounding error and curvature error."""

WIDTH = 78


@dataclass(frozen=True)
class ChainFactor:
    """One local derivative of the chain, from the loss down.

    Attributes
    ----------
    module, op : str
        The module and op of the derivative's numerator.
    text : str
    mathml : str or None
    reference : str
        The equation's number in the text.
    shapes : list of two lists of int
        The shapes of the numerator and the denominator.
    norm : float or None
        The norm of the factor; None if it has too many entries.
    after : float
        The norm of the product up to and including this factor.
    """

    module: str
    op: str
    text: str
    mathml: str | None
    reference: str
    shapes: list[list[int]]
    norm: float | None
    after: float


@dataclass(frozen=True)
class Local:
    """The last factor in numbers: the output gradients times the values that the weight multiplies.

    Attributes
    ----------
    layer : str
    gradient, inputs, products : Maps
        At each use of the weight.
    product_sum : float
        The gradient of the loss with respect to the weight.
    places : list of list of int
        The indices of the largest products.
    more : int
        The number of the other ones.
    printed : PrintedSum
        The largest products and the rest, as text.
    """

    layer: str
    gradient: Maps
    inputs: Maps
    products: Maps
    product_sum: float
    places: list[list[int]]
    more: int
    printed: PrintedSum


@dataclass(frozen=True)
class Weight:
    """The derivative of the loss with respect to one weight, computed in float64.

    Attributes
    ----------
    parameter : str
    index : list of int
    value, gradient : float
    difference_quotient : float
        The measured gradient, (E(w + h) − E(w − h)) / 2h.
    step : float
        The h of the quotient.
    text : str
        The chain rule as monospaced text.
    mathml : str or None
        The chain rule.
    layers : list of ChainFactor
    local : Local or None
        None for layers whose products do not sum to the gradient.
    """

    parameter: str
    index: list[int]
    value: float
    gradient: float
    difference_quotient: float
    step: float
    text: str
    mathml: str | None
    layers: list[ChainFactor]
    local: Local | None


def explain_weight(
    run: TrainedModel,
    picture: NDArray[np.uint8],
    label: int,
    parameter: str,
    index: Sequence[int],
    temperature: float = 1.0,
) -> Weight:
    """Return the derivative of the loss of a picture with respect to one entry of a parameter.

    Parameters
    ----------
    run : TrainedModel
    picture : ndarray of uint8, shape (28, 28)
    label : int
        The correct digit.
    parameter : str
        Its name in the network, such as "conv1.weight".
    index : sequence of int
        Index of the entry.
    temperature : float

    Raises
    ------
    ExplainError
        If the parameter, entry or label does not exist, or a number is not finite.
    """
    exact = _in_float64(run)
    weight = _found(exact, parameter, index)
    at = tuple(index)
    with tg.trace() as trace, np.errstate(all="ignore"):
        seen = watch(exact, picture, trace)
        loss = loss_of(exact, seen.logits, label, temperature)
        derivation = tg.derive(loss, weight, names=exact.model)
        tg.grad(loss, [weight, seen.image])
    value, gradient = float(weight._array[at]), float(derivation.gradient[at] + 0.0)  # no −0
    step = STEP * max(1.0, abs(value))
    losses = []
    for moved in (value + step, value - step):
        weight.data[at] = moved
        with tg.no_grad():
            logits = exact.model(image_of(exact, picture))
            losses.append(loss_of(exact, logits, label, temperature).item())
    factors = [chain_factor(item) for item in derivation.product]
    if not np.isfinite([gradient, *(factor.after for factor in factors)]).all():
        raise ExplainError("a gradient is not finite")
    name, _, own = parameter.rpartition(".")
    layer = next((layer for layer in seen.layers if layer.name == name), None)
    return Weight(
        parameter=parameter,
        index=list(at),
        value=value,
        gradient=gradient,
        difference_quotient=(losses[0] - losses[1]) / (2 * step),
        step=step,
        text=derivation.text(WIDTH),
        mathml=_product(derivation),
        layers=factors,
        local=None if layer is None else _local(layer, own, at, gradient),
    )


def _in_float64(run: TrainedModel) -> TrainedModel:
    """Return a copy of a run in float64; the copy may be modified."""
    model = copy.deepcopy(run.model)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor._array = tensor._array.astype(np.float64)
    return TrainedModel(model, run.settings)


def _found(run: TrainedModel, name: str, index: Sequence[int]) -> tg.Tensor:
    parameters = dict(run.model.named_parameters())
    if name not in parameters:
        raise ExplainError(
            f"the network has no parameter {name!r}; expected one of {', '.join(parameters)}"
        )
    shape = parameters[name].shape
    if len(index) != len(shape) or not all(
        0 <= place < size for place, size in zip(index, shape, strict=True)
    ):
        raise ExplainError(
            f"the index is {list(index)}, but {name} is {' × '.join(map(str, shape))}: expected "
            f"{len(shape)} integers >= 0 and below these sizes"
        )
    return parameters[name]


# --- the chain -----------------------------------------------------------------------------------


def _product(derivation: Derivation) -> str | None:
    """Return the derivative as the product of all factors, in MathML, on one line."""
    left, right = formulas(derivation)[0]
    return as_mathml(f"{left} = {right}".replace("\\\\\n&\\quad", ""))


def chain_factor(item: Item) -> ChainFactor:
    """Return a factor of a derivation: its formula, its shapes and norms."""
    if isinstance(item, Gap):
        return ChainFactor("", "", f"⋯ {item.count} more", None, "", [], None, item.after)
    if not isinstance(item, Factor):
        text, latex = f"∂{item.top}/∂{item.bottom}", fraction(item.top.latex(), item.bottom.latex())
        return ChainFactor("", "", text, as_mathml(latex), "", [], None, item.after)
    top, bottom = item.indices
    text = f"∂{item.top.text(top)}/∂{item.bottom.text(bottom)}"
    latex = fraction(item.top.latex(top), item.bottom.latex(bottom))
    if item.is_known:
        text, latex = f"{text} = {item.formula.text()}", f"{latex} = {item.formula.latex()}"
    return ChainFactor(
        module=item.scope,
        op=item.op,
        text=text,
        mathml=as_mathml(latex),
        reference=citation(item.equation),
        shapes=[list(shape) for shape in item.shapes],
        norm=item.norm,
        after=item.after,
    )


# --- the last link -------------------------------------------------------------------------------


def _local(layer: LayerCall, own: str, index: tuple[int, ...], gradient: float) -> Local | None:
    """Return the gradient at the layer's output, and the values multiplied with a weight there.

    None if their products do not sum to the gradient, as for a weight that is also used elsewhere.
    """
    if layer.composed_of or layer.step is None or layer.step.gradient is None or not index:
        return None
    sent = layer.step.gradient[0]
    if index[0] >= len(sent):
        return None
    flowing = sent[index[0]]
    met = np.ones_like(flowing) if own == "bias" else _met(layer, index)
    if met is None or met.shape != flowing.shape:
        return None
    products = flowing * met
    total = float(products.sum() + 0.0)
    if abs(total - gradient) > 1e-9 * float(np.abs(products).sum()):
        return None
    order = np.argsort(-np.abs(products), axis=None, kind="stable")
    shown, others = order[:LARGEST], order[LARGEST:]
    factors = [([[float(flowing.flat[k])]], [[float(met.flat[k])]]) for k in shown]
    rest = float(products.flat[others].sum()) if len(others) else None
    return Local(
        layer=layer.name,
        gradient=encode(flowing),
        inputs=encode(met),
        products=encode(products),
        product_sum=total,
        places=np.stack(np.unravel_index(shown, products.shape), -1).tolist()
        if products.ndim
        else [[]],
        more=len(others),
        printed=print_sum(factors, total, rest),
    )


def _met(layer: LayerCall, index: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Return the values multiplied with an entry of a layer's weight, wherever it is used."""
    if layer.kind == "dense":
        return np.asarray(layer.given[index[1]])
    if layer.kind == "batch-norm":
        mean, variance = (layer.arrays[name][index[0]] for name in ("mean", "variance"))
        normalized: NDArray[np.float64] = (layer.given[index[0]] - mean) / np.sqrt(
            variance + layer.arrays["epsilon"]
        )
        return normalized
    if layer.kind == "convolution" and layer.windows is not None:
        out, channel, row, column = index
        kernels = layer.arrays["w"].shape
        first = out // (kernels[0] // layer.options["groups"]) * kernels[1]
        padded = layer.windows.pad(layer.given[first + channel])
        met: NDArray[np.float64] = padded[
            layer.windows.rows.offsets[row], layer.windows.columns.offsets[column]
        ]
        return met
    return None
