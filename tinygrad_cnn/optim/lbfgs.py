"""L-BFGS: a quasi-Newton method, which computes the loss several times per step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.recording import enable_grad
from tinygrad_cnn.core.variable import array_of
from tinygrad_cnn.optim.optimizer import Hyperparameter, Optimizer, Option, Params
from tinygrad_cnn.support.arguments import whole

Vector = NDArray[Any]

SUFFICIENT_DECREASE = 1e-4  # c₁ of the Wolfe conditions
CURVATURE = 0.9  # c₂
LEAST_CURVATURE = 1e-10  # below it, a pair (s, y) is not kept


def _line_search(owner: str, name: str, value: Any) -> str | None:
    if value not in (None, "strong_wolfe"):
        raise ValueError(f"{owner}: {name} is {value!r}, expected None or 'strong_wolfe'")
    return None if value is None else "strong_wolfe"


class LBFGS(Optimizer):
    """L-BFGS: descends along −H·g, with an inverse Hessian H estimated from the last gradients.

    From the last pairs s = Δp and y = Δg, the two-loop recursion computes H·g without forming H.
    All parameters are one vector p. One step makes up to `max_iter` iterations p ← p − t·H·g.

    Parameters
    ----------
    params : iterable of Parameter
        One group.
    lr : float
        t, or the first t that a line search tries; in the first iteration at most lr / ‖g‖₁.
    max_iter : int
        The most iterations of a step.
    max_eval : int, optional
        The most calls of the closure in a step; by default 1.25 · max_iter.
    tolerance_grad : float
        Stop where the largest entry of the gradient is at most this.
    tolerance_change : float
        Stop where p or the loss changes by no more than this.
    history_size : int
        The number of pairs kept.
    line_search_fn : {None, "strong_wolfe"}
        Whether to search a t that fulfills the strong Wolfe conditions.

    Raises
    ------
    ValueError
        If an argument is out of range, or there are several parameter groups.

    Notes
    -----
    Nocedal and Wright, "Numerical optimization", 2006, algorithms 7.4, 3.5 and 3.6; PyTorch's
    definition.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.nn.Parameter([4.0, -2.0])
    >>> optimizer = tg.optim.LBFGS([x], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((x - [1.0, 3.0]) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> float(optimizer.step(closure))
    34.0
    >>> x.numpy().round(4)
    array([1., 3.], dtype=float32)
    """

    max_iter = Option(whole)
    max_eval = Option(whole)
    tolerance_grad = Hyperparameter()
    tolerance_change = Hyperparameter()
    history_size = Option(whole)
    line_search_fn = Option(_line_search)

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        super().__init__(params, lr)
        self.max_iter = max_iter
        self.max_eval = max(1, max_iter * 5 // 4) if max_eval is None else max_eval
        self.tolerance_grad = tolerance_grad
        self.tolerance_change = tolerance_change
        self.history_size = history_size
        self.line_search_fn = line_search_fn
        self._history = _History()

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add the only parameter group; a second one is refused."""
        if self.param_groups or len(param_group) > 1:
            raise ValueError(f"{type(self).__name__}: takes one parameter group without options")
        super().add_param_group(param_group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make up to `max_iter` iterations.

        Parameters
        ----------
        closure : callable
            Clears the gradients, computes the loss and its gradients, and returns the loss.

        Returns
        -------
        object
            The first loss.

        Raises
        ------
        TypeError
            If there is no closure.
        """
        if closure is None:
            raise TypeError(
                f"{type(self).__name__}: step needs a closure that computes the loss and its "
                "gradients: optimizer.step(closure)"
            )
        with enable_grad():
            first = closure()
        if not self._due():
            return first
        loss, g, history, evaluations = _number(first), self._gradient(), self._history, 1
        for iteration in range(1, self.max_iter + 1):
            if np.abs(g).max() <= self.tolerance_grad:
                break
            d = history.direction(g, self.history_size)
            slope = float(g @ d)
            t = self.lr
            if history.iterations == 1:
                t *= min(1.0, 1.0 / float(np.abs(g).sum()))
            history.step, history.gradient, before = t, g, loss
            if slope > -self.tolerance_change:
                break
            start = [p._array.copy() for p in self._due()]
            evaluate = partial(self._evaluated, closure, start, d)
            if self.line_search_fn:
                here = _Point(0.0, loss, g, slope)
                limit = self.max_eval - evaluations
                found, calls = _strong_wolfe(evaluate, here, t, d, limit, self.tolerance_change)
                t, loss, g = found.t, found.loss, found.g
                self._move(start, t, d)
                evaluations += calls
            elif iteration < self.max_iter:
                found = evaluate(t)
                loss, g = found.loss, found.g
                evaluations += 1
            else:
                self._move(start, t, d)
            history.step = t
            small = np.abs(d * t).max() <= self.tolerance_change
            if evaluations >= self.max_eval or small or abs(loss - before) < self.tolerance_change:
                break
        return first

    # --- all parameters as one vector ------------------------------------------------------------

    def _due(self) -> list[Any]:
        return [p for p in self.params if p.requires_grad]

    def _gradient(self) -> Vector:
        """Return all gradients as one vector, zeros where there is none."""
        self._ready()  # checks them
        due = self._due()
        parts = [np.zeros(p.shape, p.dtype) if p._grad is None else p._grad for p in due]
        return np.concatenate([np.asarray(array_of(part)).ravel() for part in parts])

    def _move(self, start: list[NDArray[Any]], t: float, d: Vector) -> None:
        """Set the parameters to `start` + t·d."""
        offset = 0
        for p, array in zip(self._due(), start, strict=True):
            p._mark_changed()  # first: an interrupt may follow the change
            p._array[...] = array + t * d[offset : offset + array.size].reshape(array.shape)
            offset += array.size

    def _evaluated(
        self, closure: Callable[[], Any], start: list[NDArray[Any]], d: Vector, t: float
    ) -> _Point:
        """Return the loss and its gradient at `start` + t·d."""
        self._move(start, t, d)
        with enable_grad():
            loss = _number(closure())
        g = self._gradient()
        return _Point(t, loss, g, float(g @ d))

    # --- saving and loading ----------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the options, and the history as ``"history.steps"`` and so on."""
        return super().state_dict() | self._history.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore options and history; see `Optimizer.load_state_dict`."""
        rest = {k: v for k, v in state_dict.items() if not k.startswith("history.")}
        kept = {k: v for k, v in state_dict.items() if k not in rest}
        size = sum(p._array.size for p in self._due())
        history = _History.loaded(f"{type(self).__name__}.load_state_dict", kept, size)
        super().load_state_dict(rest)
        self._history = history


@dataclass
class _History:
    """The last pairs of L-BFGS, and the last direction, step and gradient.

    Attributes
    ----------
    steps, changes : list of ndarray
        s and y, the oldest first.
    scale : float
        γ: H is γ times the identity before the pairs improve it.
    """

    iterations: int = 0
    scale: float = 1.0
    step: float = 0.0
    last: Vector | None = None
    gradient: Vector | None = None
    steps: list[Vector] = field(default_factory=list)
    changes: list[Vector] = field(default_factory=list)

    def direction(self, g: Vector, size: int) -> Vector:
        """Return −H·g, after adding the pair of the last iteration."""
        self.iterations += 1
        if self.last is None or self.gradient is None:
            self.last = -g
            return self.last
        y, s = g - self.gradient, self.last * self.step
        curvature = float(y @ s)
        if curvature > LEAST_CURVATURE:
            self.changes = [*self.changes, y][-size:]
            self.steps = [*self.steps, s][-size:]
            self.scale = curvature / float(y @ y)
        pairs = [(s, y, 1.0 / float(y @ s)) for s, y in zip(self.steps, self.changes, strict=True)]
        d, weights = -g, []
        for s, y, rho in reversed(pairs):
            weights.append(float(s @ d) * rho)
            d = d - weights[-1] * y
        d = d * self.scale
        for s, y, rho in pairs:
            d = d + (weights.pop() - float(y @ d) * rho) * s
        self.last = d
        return d

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the numbers and vectors; {} before the first iteration."""
        if self.last is None or self.gradient is None:
            return {}
        found: dict[str, Any] = {
            name: getattr(self, name) for name in ("iterations", "scale", "step")
        }
        found |= {"last": self.last.copy(), "gradient": self.gradient.copy()}
        if self.steps:
            found |= {"steps": np.stack(self.steps), "changes": np.stack(self.changes)}
        return {f"history.{name}": value for name, value in found.items()}

    @classmethod
    def loaded(cls, owner: str, state: Mapping[str, Any], size: int) -> _History:
        """Return the history that `state_dict` returned, for `size` numbers in all."""
        given = {name.removeprefix("history."): value for name, value in state.items()}
        if not given:
            return cls()
        needed = {"iterations", "scale", "step", "last", "gradient"}
        names = needed | {"steps", "changes"}
        if not needed <= given.keys() <= names or ("steps" in given) != ("changes" in given):
            raise ValueError(f"{owner}: history has {sorted(given)}, expected {sorted(names)}")
        for name in given.keys() - {"iterations", "scale", "step"}:
            given[name] = np.array(given[name])
            if given[name].shape[-1:] != (size,):
                raise ValueError(
                    f"{owner}: history.{name} has shape {given[name].shape}, expected {size} "
                    "numbers: those of all parameters that require a gradient"
                )
        for name in given.keys() & {"steps", "changes"}:
            given[name] = list(given[name])
        return cls(**given)


# --- line search ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Point:
    """A point of a line: the step t, the loss, its gradient and its slope along the line."""

    t: float
    loss: float
    g: Vector
    slope: float


def _number(loss: Any) -> float:
    return float(loss)


def _strong_wolfe(
    evaluate: Callable[[float], _Point],
    start: _Point,
    t: float,
    d: Vector,
    limit: int,
    tolerance: float,
) -> tuple[_Point, int]:
    """Return a point that fulfills the strong Wolfe conditions, and the number of evaluations.

    First t grows until two points enclose such a point, then the interval shrinks around it. After
    `limit` attempts, the better end of the interval is returned.
    """

    def too_high(point: _Point) -> bool:
        return point.loss > start.loss + SUFFICIENT_DECREASE * point.t * start.slope

    def flat(point: _Point) -> bool:
        return abs(point.slope) <= -CURVATURE * start.slope

    previous, point, calls = start, evaluate(t), 1
    low, high = start, point
    for search in range(limit + 1):
        if search == limit:
            low, high = _sorted(start, point)
            break
        if too_high(point) or (search > 1 and point.loss >= previous.loss):
            low, high = _sorted(previous, point)
            break
        if flat(point):
            return point, calls
        if point.slope >= 0:
            low, high = _sorted(previous, point)
            break
        bounds = point.t + 0.01 * (point.t - previous.t), point.t * 10.0
        previous, point = point, evaluate(_minimum_of_cubic(previous, point, bounds))
        calls += 1
    stalled = done = False
    while not done and calls <= limit:
        left, right = min(low.t, high.t), max(low.t, high.t)
        if (right - left) * np.abs(d).max() < tolerance:
            break
        first, second = (low, high) if low.t <= high.t else (high, low)
        t = _minimum_of_cubic(first, second, (left, right))
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:  # too close to an end
            if stalled or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        point = evaluate(t)
        calls += 1
        if too_high(point) or point.loss >= low.loss:
            low, high = _sorted(low, point)
        else:
            done = flat(point)
            if not done and point.slope * (high.t - low.t) >= 0:
                high = low
            low = point
    return low, calls


def _sorted(a: _Point, b: _Point) -> tuple[_Point, _Point]:
    """Return the two points, the one with the lower loss first."""
    return (a, b) if a.loss <= b.loss else (b, a)


def _minimum_of_cubic(a: _Point, b: _Point, bounds: tuple[float, float]) -> float:
    """Return the minimum of the cubic through two points with their slopes, within `bounds`.

    Nocedal and Wright, eq 3.59; the middle if there is none.
    """
    d1 = a.slope + b.slope - 3.0 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if square < 0:
        return (bounds[0] + bounds[1]) / 2.0
    d2 = math.sqrt(square)
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2))
    return min(max(t, bounds[0]), bounds[1])
