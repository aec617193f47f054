"""The observer of a step that is captured (`compiler`): it sees all that a replay must know.

Besides the calls of ops, these are reads of values, changes of state, and the start and end of a
sweep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_cnn.core.observer import Observer
from tinygrad_cnn.core.recording import recording

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tinygrad_cnn.core.graph import Node
    from tinygrad_cnn.core.variable import Array, Variable


class StepObserver(Observer):
    """Base class of observers that get the calls of an `effect` whole, without the ops inside."""

    def reads(self, value: Any, what: str) -> None:
        """Handle `what`, which reads the values of a Tensor, or of a `HiddenArray`, for Python."""

    def computed(
        self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any], result: Any
    ) -> Any:
        """Handle a call of a method of a `HiddenArray`, or of a function marked with `pure`.

        What this returns replaces the result.
        """
        return result

    def fixed(self, array: NDArray[Any]) -> None:
        """Handle an array that depends on shapes and options only: see `effects.constant`."""

    def gradient_of(self, leaf: Variable) -> NDArray[Any] | None:
        """Handle a look at ``.grad``; what this returns, unless None, replaces it."""
        return None

    def before_effect(self, function: Callable[..., Any]) -> None:
        """Handle the start of a call of an `effect`."""

    def effect(self, function: Callable[..., Any], arguments: dict[str, Any], result: Any) -> Any:
        """Handle one call of an `effect`; what it returns, unless None, is what the call returns.

        `function` is the one that was marked. Arguments are as they were passed.
        """

    def entered(self, module: Any) -> None:
        """Handle the start of a call of a `Module`."""

    def seeded(self, y: Variable, given: Any, seed: Array, create_graph: bool) -> None:
        """Handle the start of a sweep from `y`; `seed` is `given` as an array, or 1."""

    def differentiated(self, keys: Sequence[Node | Variable], results: list[Any]) -> list[Any]:
        """Handle what `grad` returns for each node or leaf; what this returns replaces it."""
        return results


def step_observers() -> list[StepObserver]:
    """Return the observers that capture a step: one, or none."""
    return [each for each in recording.get().observers if isinstance(each, StepObserver)]


def announce_entered(module: Any) -> None:
    """Report the start of a call of a module to the step's observer."""
    for observer in step_observers():
        observer.entered(module)


def reads(value: Any, what: str) -> None:
    """Report to the step's observer that `what` reads the values of `value`; it may refuse."""
    for observer in step_observers():
        observer.reads(value, what)
