"""Losses as modules, with PyTorch's names: each holds the options of one function."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tinygrad_cnn import ops
from tinygrad_cnn.core.dtypes import get_default_dtype
from tinygrad_cnn.core.tensor import Tensor, TensorLike
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.ops.loss import Reduction
from tinygrad_cnn.support.arguments import choice, flag, number, positive, share

REDUCTIONS = ("mean", "sum", "none")


class _Loss(Module):
    """A loss of a prediction and a target; `reduction` is "mean", "sum" or "none"."""

    def __init__(self, reduction: str, *others: str) -> None:
        known = (*REDUCTIONS, *others)
        self.reduction: Any = choice(type(self).__name__, "reduction", reduction, known)


def _buffer(owner: str, name: str, weight: ArrayLike | None, ndim: int | None = None) -> Any:
    """Return `weight` as a buffer, or None."""
    if weight is None:
        return None
    array = np.array(array_of(weight))
    if array.dtype.kind not in "fiu" or (ndim is not None and array.ndim != ndim):
        raise ValueError(
            f"{owner}: {name} is {array.dtype} of shape {array.shape}, expected numbers"
            + ("" if ndim is None else ", one for each class")
        )
    is_array = isinstance(weight, np.ndarray | Tensor) and array.dtype.kind == "f"
    return Tensor(array if is_array else array.astype(get_default_dtype()))


class MSELoss(_Loss):
    """`tinygrad_cnn.mse`: the mean squared error.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        The reduction over all elements.

    Raises
    ------
    ValueError
        If `reduction` is none of the three. On a call, if the shapes differ.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.MSELoss()(tg.Tensor([1.0, 2.0]), tg.Tensor([0.0, 0.0])).item()
    2.5
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)

    def forward(self, prediction: Tensor, target: TensorLike) -> Tensor:
        """Return the loss."""
        return ops.mse(prediction, target, self.reduction)


class L1Loss(_Loss):
    """`tinygrad_cnn.l1`: the mean absolute error; parameters as for `MSELoss`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.L1Loss(reduction="sum")(tg.Tensor([1.0, -2.0]), tg.Tensor([0.0, 0.0])).item()
    3.0
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)

    def forward(self, prediction: Tensor, target: TensorLike) -> Tensor:
        """Return the loss."""
        return ops.l1(prediction, target, self.reduction)


class SmoothL1Loss(_Loss):
    """`tinygrad_cnn.smooth_l1`: the absolute error, quadratic where it is below `beta`.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        The reduction over all elements.
    beta : float
        0 or more.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if the shapes differ.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.SmoothL1Loss()(tg.Tensor([0.5, -2.0]), tg.Tensor([0.0, 0.0])).item()
    0.8125
    """

    def __init__(self, *, reduction: Reduction = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = number(type(self).__name__, "beta", beta)

    def forward(self, prediction: Tensor, target: TensorLike) -> Tensor:
        """Return the loss."""
        return ops.smooth_l1(prediction, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """`tinygrad_cnn.huber`: half the squared error up to `delta`, linear beyond.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        The reduction over all elements.
    delta : float
        Above 0.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if the shapes differ.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.HuberLoss()(tg.Tensor([0.5, -2.0]), tg.Tensor([0.0, 0.0])).item()
    0.8125
    """

    def __init__(self, reduction: Reduction = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = positive(type(self).__name__, "delta", delta)

    def forward(self, prediction: Tensor, target: TensorLike) -> Tensor:
        """Return the loss."""
        return ops.huber(prediction, target, self.reduction, self.delta)


class CrossEntropyLoss(_Loss):
    """`tinygrad_cnn.cross_entropy`: of logits, with integer labels or rows as the target.

    Parameters
    ----------
    weight : array_like, optional
        A factor for each class.
    ignore_index : int
        The label of examples that do not count.
    reduction : {"mean", "sum", "none"}
        The reduction over the examples and positions.
    label_smoothing : float
        From 0 to 1.
    axis : int, optional
        The class axis; by default axis 1 of three or more axes, else the last.

    Attributes
    ----------
    weight : Tensor or None
        A buffer, of shape (classes,).

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if the shapes do not match.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.CrossEntropyLoss()(tg.Tensor([[0.0, 0.0]]), [1]).item()
    0.693147...
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        *,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
        axis: int | None = None,
    ) -> None:
        super().__init__(reduction)
        owner = type(self).__name__
        self.weight = _buffer(owner, "weight", weight, 1)
        self.ignore_index = ignore_index
        self.label_smoothing = share(owner, "label_smoothing", label_smoothing)
        self.axis = axis

    def forward(self, logits: Tensor, target: ArrayLike | Tensor) -> Tensor:
        """Return the loss."""
        return ops.cross_entropy(
            logits,
            target,
            self.reduction,
            self.label_smoothing,
            self.axis,
            self.weight,
            self.ignore_index,
        )


class NLLLoss(_Loss):
    """`tinygrad_cnn.nll`: the negative log-likelihood of labels.

    Parameters
    ----------
    weight, ignore_index, reduction, axis
        As for `CrossEntropyLoss`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.NLLLoss()(tg.log_softmax(tg.Tensor([[0.0, 0.0]])), [1]).item()
    0.693147...
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        *,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        axis: int | None = None,
    ) -> None:
        super().__init__(reduction)
        self.weight = _buffer(type(self).__name__, "weight", weight, 1)
        self.ignore_index = ignore_index
        self.axis = axis

    def forward(self, log_probabilities: Tensor, target: ArrayLike | Tensor) -> Tensor:
        """Return the loss."""
        return ops.nll(
            log_probabilities, target, self.reduction, self.axis, self.weight, self.ignore_index
        )


class BCELoss(_Loss):
    """`tinygrad_cnn.binary_cross_entropy`: of probabilities, with targets from 0 to 1.

    Parameters
    ----------
    weight : array_like, optional
        Factors that broadcast to the shape of the prediction.
    reduction : {"mean", "sum", "none"}
        The reduction over all elements.

    Attributes
    ----------
    weight : Tensor or None
        A buffer.

    Raises
    ------
    ValueError
        If `reduction` is none of the three. On a call, if the shapes differ, or a prediction is not
        from 0 to 1.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.nn.BCELoss()(tg.Tensor([0.5, 0.5]), tg.Tensor([0.0, 1.0])).item()
    0.693147...
    """

    def __init__(self, weight: ArrayLike | None = None, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.weight = _buffer(type(self).__name__, "weight", weight)

    def forward(self, prediction: Tensor, target: TensorLike) -> Tensor:
        """Return the loss."""
        weight = array_of(self.weight)  # an array, as its dtype may be another
        return ops.binary_cross_entropy(prediction, target, self.reduction, weight)


class BCEWithLogitsLoss(_Loss):
    """`tinygrad_cnn.binary_cross_entropy_with_logits`, exact where the sigmoid saturates.

    Parameters
    ----------
    weight, pos_weight : array_like, optional
        Factors that broadcast to the shape of the logits: of the whole loss, and of the targets 1.
    reduction : {"mean", "sum", "none"}
        The reduction over all elements.

    Attributes
    ----------
    weight, pos_weight : Tensor or None
        Buffers.

    Raises
    ------
    ValueError
        If `reduction` is none of the three. On a call, if the shapes differ.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> loss = tg.nn.BCEWithLogitsLoss(pos_weight=[2.0])
    >>> loss(tg.Tensor([0.0, 0.0]), tg.Tensor([0.0, 1.0])).item()
    1.03972...
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        *,
        reduction: Reduction = "mean",
        pos_weight: ArrayLike | None = None,
    ) -> None:
        super().__init__(reduction)
        owner = type(self).__name__
        self.weight = _buffer(owner, "weight", weight)
        self.pos_weight = _buffer(owner, "pos_weight", pos_weight)

    def forward(self, logits: Tensor, target: TensorLike) -> Tensor:
        """Return the loss."""
        weight, pos_weight = array_of(self.weight), array_of(self.pos_weight)
        return ops.binary_cross_entropy_with_logits(
            logits, target, self.reduction, weight, pos_weight
        )


class KLDivLoss(_Loss):
    """`tinygrad_cnn.kl_div`: the divergence of log-probabilities from a target distribution.

    Parameters
    ----------
    reduction : {"mean", "sum", "none", "batchmean"}
        The reduction; ``"batchmean"`` is that of the definition.
    log_target : bool
        Whether the target holds logarithms.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> loss = tg.nn.KLDivLoss(reduction="batchmean")
    >>> loss(tg.log_softmax(tg.Tensor([[0.0, 0.0]])), np.array([[1.0, 0.0]])).item()
    0.693147...
    """

    def __init__(
        self,
        *,
        reduction: Literal["mean", "sum", "none", "batchmean"] = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(reduction, "batchmean")
        self.log_target = flag(type(self).__name__, "log_target", log_target)

    def forward(self, log_probabilities: Tensor, target: TensorLike) -> Tensor:
        """Return the loss."""
        return ops.kl_div(log_probabilities, target, self.reduction, self.log_target)


class TripletMarginLoss(_Loss):
    """`tinygrad_cnn.triplet_margin`: the positive should be closer to the anchor than the negative.

    Parameters
    ----------
    margin : float
        By how much closer. 0 or more.
    p, eps : float
        Of the distance, as for `pairwise_distance`.
    swap : bool
        Whether the negative counts as close if it is close to the positive.
    reduction : {"mean", "sum", "none"}
        The reduction over the triplets.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if the shapes differ.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> a, p, n = tg.Tensor([[0.0, 0.0]]), tg.Tensor([[3.0, 0.0]]), tg.Tensor([[0.0, 3.5]])
    >>> tg.nn.TripletMarginLoss(2.0, eps=0.0)(a, p, n).item()
    1.5
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        *,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        owner = type(self).__name__
        self.margin = number(owner, "margin", margin)
        self.p = p if p == np.inf else number(owner, "p", p, 1.0)
        self.eps = number(owner, "eps", eps)
        self.swap = flag(owner, "swap", swap)

    def forward(self, anchor: Tensor, positive: TensorLike, negative: TensorLike) -> Tensor:
        """Return the loss."""
        return ops.triplet_margin(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, self.reduction
        )


class CosineEmbeddingLoss(_Loss):
    """`tinygrad_cnn.cosine_embedding`: vectors should agree, or differ, in direction.

    Parameters
    ----------
    margin : float
        The cosine up to which vectors differ enough, from −1 to 1.
    reduction : {"mean", "sum", "none"}
        The reduction over the pairs.

    Raises
    ------
    ValueError
        If an argument is out of range. On a call, if the shapes do not match.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> a, b = tg.Tensor([[3.0, 4.0], [3.0, 4.0]]), tg.Tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> tg.nn.CosineEmbeddingLoss()(a, b, [1, -1]).item()
    0.5
    """

    def __init__(self, margin: float = 0.0, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.margin = number(type(self).__name__, "margin", margin, -1.0, np.nextafter(1.0, 2.0))

    def forward(self, x1: Tensor, x2: TensorLike, target: ArrayLike | Tensor) -> Tensor:
        """Return the loss."""
        return ops.cosine_embedding(x1, x2, target, self.margin, self.reduction)
