"""The declaration of an op: its forward and its local derivatives, in one place.

The backward pass, the labels of a drawn graph, printed derivations, gradient checks and the table
in the docs all read it.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic, Literal, ParamSpec, TypeAlias, get_args

Integers: TypeAlias = Literal["converted", "widened", "kept"]
Role: TypeAlias = Literal[
    "activation",  # its argument is a layer's z, its result α
    "affine",  # x·w + b: the result is a layer's z
    "normalization",  # scales by w and shifts by b
    "product",  # a factor may be a weight
    "addition",  # a term may be a bias
    "pooling",
    "reshaping",
    "regularization",
    "loss",  # of a prediction Y
    "loss of logits",
    "other",
]
"""The part that an op plays in a network."""
_PACKAGE = __name__.partition(".")[0] + "."

P = ParamSpec("P")
Rule = Callable[..., Any]
Draw: TypeAlias = Callable[[Any], Any]
"""Hypothesis' ``draw``: it takes a strategy and returns a value."""
Strategies: TypeAlias = ModuleType
"""The module `tinygrad_cnn.check.strategies`, which the core does not import."""
Example: TypeAlias = Callable[[Draw, Strategies], Any]


class Prose(str):
    """A formula in words, which checks do not read: ``formula=Prose("x with its axes permuted")``.

    `docs/formulas.md` describes the notation of other formulas.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Derivative:
    """The local derivative of an op with respect to the parameter `of`.

    ``rule(g, **kept)`` maps `g`, the gradient of the result, to the gradient of the parameter.
    `needs` are its keyword-only names: the values it reads, and the only ones a call saves for it.
    `formula` and `latex` state it as mathematics; `equation` is its number in the text "CNNs From
    Scratch".
    """

    of: str
    rule: Rule
    needs: tuple[str, ...]
    formula: str
    latex: str
    equation: str


@dataclass(frozen=True, slots=True)
class ExampleCalls:
    """Example calls of an op, as declared with `Declaration.calls`."""

    function: Callable[..., Any]
    of: tuple[str, ...] | None
    always: tuple[Mapping[str, Any], ...]
    large: tuple[Mapping[str, Any], ...]


@dataclass(eq=False, repr=False)
class Declaration(Generic[P]):
    """The static description of an op; `Op` adds the call.

    Attributes
    ----------
    name, formula, latex, equation, elementwise, complex_step, sequence, integers, role, kind,
    letter, aliases, selecting, dead_at_zero, saturates_at
        As declared with `op`.
    forward : callable
        The computation, from arrays to an array.
    parameters, operands, static : tuple of str
        The names of all parameters, of the differentiable ones and of the non-array options, each
        in the order of the signature.
    guarded : bool
        Whether forward and rules get read-only views of arrays, as ops outside the package do.
    derivatives : dict of str to Derivative
        The derivative of each differentiable parameter.
    entries : dict of str to callable
        How derivations write an entry of a derivative; see `entry`.
    quantities : callable or None
        The quantities that entries use besides the parameters; see `letters`.
    residuals : dict of str to callable
        Extra values that rules may use, computed only if a rule asks for them.
    intermediates : dict of str to callable
        Differentiable values that the forward and the rules share.
    asked : list of str
        The intermediates that the forward takes, as keywords.
    example_calls : dict of str to ExampleCalls
        The calls that checks of the op draw, by their note.
    """

    forward: Callable[P, Any]
    formula: str
    latex: str
    equation: str
    elementwise: bool
    complex_step: bool | None
    sequence: bool
    integers: Integers
    role: Role
    kind: str
    letter: str
    aliases: Mapping[str, str]
    selecting: bool
    dead_at_zero: bool
    saturates_at: tuple[float, float] | None

    def __post_init__(self) -> None:
        forward = self.forward
        functools.update_wrapper(self, forward, updated=())  # type: ignore[arg-type]  # an Op is callable
        self.name = forward.__name__
        self.kind = self.kind or self.name
        self.aliases = dict(self.aliases or {})
        self.derivatives: dict[str, Derivative] = {}
        self.entries: dict[str, Callable[..., Any]] = {}
        self.quantities: Callable[..., Any] | None = None
        self.residuals: dict[str, Callable[..., Any]] = {}
        self.intermediates: dict[str, Callable[..., Any]] = {}
        self._of_gradient: dict[str, Callable[..., Any]] = {}
        self.example_calls: dict[str, ExampleCalls] = {}
        self._cost: Callable[..., int] = lambda: 0
        whole = inspect.signature(forward)
        taken = [p for p in whole.parameters.values() if p.kind is not p.KEYWORD_ONLY]
        self.asked = [name for name, p in whole.parameters.items() if p not in taken]
        self.signature = self.__signature__ = whole.replace(parameters=taken)
        for parameter in taken:
            reserved = parameter.name in ("g", "y", "static")
            if reserved or parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
                raise TypeError(
                    f"op {self.name}: parameter {parameter}: expected a plain parameter, not named "
                    "g, y or static: rules know the gradient, the result and the options by these"
                )
        for label, known in (("integers", Integers), ("role", Role)):
            value = getattr(self, label)
            if value not in get_args(known):
                raise ValueError(
                    f"op {self.name}: {label} is {value!r}, expected one of "
                    f"{', '.join(map(repr, get_args(known)))}"
                )
        self.parameters = tuple(self.signature.parameters)
        self.formula = self.formula or Prose(f"{self.name}({', '.join(self.parameters)})")
        for name in self.aliases:
            self._check_parameter(name)
        own = forward.__module__.startswith(_PACKAGE)
        self.complex_step = own if self.complex_step is None else self.complex_step
        self.guarded = not own
        self._defaults = [p.default for p in self.signature.parameters.values()]
        self._sort_parameters()

    def __repr__(self) -> str:
        return f"<op {self.name}{self.signature}: {self.formula}>"

    # --- declaring -------------------------------------------------------------------------------

    def derivative(
        self, of: str, *, formula: str = "", latex: str = "", equation: str = ""
    ) -> Callable[[Rule], Rule]:
        """Declare the derivative with respect to the parameter `of`.

        The decorated rule takes `g`, the gradient of the result, and keyword-only arguments: ``y``
        (the result), a parameter, ``<parameter>_shape``, ``y_shape``, a residual, an intermediate,
        or ``static``, the dict of static arguments. Write it with operators and ops, so that it
        works for arrays and for Tensors.

        Raises
        ------
        TypeError
            If `of` is not a parameter, or the rule asks for an unknown name.
        """

        def register(rule: Rule) -> Rule:
            came = inspect.signature(rule)
            flow, kept = [*came.parameters][:1], [*came.parameters.values()][1:]
            if flow != ["g"] or any(p.kind is not p.KEYWORD_ONLY for p in kept):
                raise TypeError(f"op {self.name}: a rule takes (g, *, names), not {came}")
            needs = tuple(p.name for p in kept)
            self._check_names("a derivative", needs)
            stated = formula or Prose(f"g·∂{self.name}/∂{of}")
            self.derivatives[of] = Derivative(of, rule, needs, stated, latex, equation)
            self._sort_parameters()
            return rule

        self._check_parameter(of)
        return register

    def entry(self, of: str) -> Callable[[Rule], Rule]:
        """Declare how derivations write an entry of the derivative with respect to `of`.

        The decorated function takes the index of an entry of the result and a source of new letters
        (`tinygrad_cnn.ops.entries`), and keyword-only arguments: what the derivative saves, a
        shape, an option, ``static``, or ``position``, the argument's place in a list. It returns
        the index of the argument and the formula of the entry; None if it has none. An elementwise
        op needs no entry.

        Raises
        ------
        TypeError
            If `of` is not a parameter.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> @tg.op(formula="Σ over each row")
        ... def row_sums(x):
        ...     return x.sum(axis=1)
        >>> @row_sums.derivative("x", formula="g repeated")
        ... def _(g, *, x_shape):
        ...     return tg.broadcast_to(tg.reshape(g, (-1, 1)), x_shape)
        >>> @row_sums.entry("x")
        ... def _(y, letters, *, x_shape):
        ...     return (*y, letters.fresh(x_shape[1])), "1"
        >>> del tg.OPS["row_sums"]
        """

        def register(rule: Rule) -> Rule:
            self.entries[of] = rule
            return rule

        self._check_parameter(of)
        return register

    def letters(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Declare the quantities that entries use besides the parameters, such as x̂.

        The decorated function has keyword-only arguments, as that of an `entry`. It returns a
        mapping from each letter to its shape and its definition, in which parameters and other
        letters may occur. Derivations list them under "where".

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> @tg.op(formula="x / |x|")
        ... def unit(x):
        ...     return x / np.linalg.norm(x)
        >>> @unit.letters
        ... def _():
        ...     return {"r": ((), "the length of x")}
        >>> del tg.OPS["unit"]
        """
        self.quantities = function
        return function

    def residual(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Declare a value that rules request by the name of `function`.

        The arguments of `function` are parameters of the op, or ``y``. Its value must be constant
        almost everywhere (a mask, an index), because no derivative is taken through it: it says
        which branch the op took.
        """
        self._check_names("a residual", names_of(function), *self.intermediates)
        self.residuals[function.__name__] = function
        return function

    def intermediate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Declare a differentiable value that the forward and the rules share.

        Both request it by the name of `function`, as a keyword-only argument: in the forward with
        the default ``...``, so that type checkers accept calls without it. The arguments of
        `function` are parameters of the op, their shapes, or earlier intermediates.

        Each call computes the value before the forward, and saves it if a wanted rule requests it.
        With ``create_graph=True`` a sweep computes it again from Tensors. So write it, like a rule,
        with operators and ops; only a residual, which is constant almost everywhere, needs none.

        If the first argument is `g`, the gradient of the result, the rules alone share the value: a
        sweep computes it once, before them; it may be a tuple of arrays. The forward and other
        intermediates cannot request it.

        Raises
        ------
        TypeError
            If an argument has an unknown name, `g` is not the first, or the name of `function` is
            taken.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> @tg.op(formula="√(1 + x²)", elementwise=True)
        ... def arc(x, *, root=...):
        ...     return root
        >>> @arc.intermediate
        ... def root(x):
        ...     return tg.sqrt(1.0 + x * x)
        >>> @arc.derivative("x", formula="g·x / √(1 + x²)")
        ... def _(g, *, x, root):
        ...     return g * x / root
        >>> x = tg.Tensor(0.0, requires_grad=True)
        >>> (slope,) = tg.grad(arc(x), x, create_graph=True)
        >>> slope.item(), tg.grad(slope, x)[0].item()
        (0.0, 1.0)
        >>> del tg.OPS["arc"]
        """
        name, taken = function.__name__, ("g", "y", "static", *self.parameters, *self.residuals)
        if name in taken or not name.isidentifier():
            raise TypeError(f"op {self.name}: an intermediate cannot be named '{name}'")
        excluded = ("y", "y_shape", *self.residuals, *self._of_gradient)
        reads = names_of(function)
        if "g" in reads[1:]:
            raise TypeError(f"op {self.name}: the intermediate {name} takes g, but not first")
        self._check_names("an intermediate", [read for read in reads if read != "g"], *excluded)
        self.intermediates[name] = function
        self._sort_parameters()
        return function

    def multiply_adds(self, function: Callable[..., int]) -> Callable[..., int]:
        """Declare the multiply-add count; `function` names its inputs as a rule does."""
        self._check_names("a count", names_of(function), *self.intermediates)
        self._cost = function
        return function

    def calls(
        self,
        function: Example | None = None,
        *,
        of: Sequence[str] | None = None,
        note: str = "",
        always: Sequence[Mapping[str, Any]] = (),
        large: Sequence[Mapping[str, Any]] = (),
    ) -> Callable[..., Any]:
        """Declare example calls, which checks of the op draw.

        The decorated function takes Hypothesis' ``draw`` and the module `check.strategies`. It
        returns the arguments of a call: a dict by name, a tuple of all operands, or the only one.
        It runs only when the op is checked; declaring it does not import Hypothesis.

        An elementwise op needs no example calls if each parameter without a default is an operand
        and takes any number.

        Parameters
        ----------
        of : sequence of str, optional
            The operands to differentiate by; by default, all that are given and not None.
        note : str
            Distinguishes several declarations for one op; the same note replaces the earlier one.
        always : sequence of dict
            Arguments that are always tried: corner cases and past failures.
        large : sequence of dict
            Further arguments of the function, for large calls: one set for each algorithm that
            large calls select. By default, the axes of drawn calls are lengthened.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> @tg.op(formula="1 / x", elementwise=True)
        ... def inverse(x):
        ...     return 1 / x
        >>> @inverse.derivative("x", formula="−g·y²")
        ... def _(g, *, y):
        ...     return -g * y * y
        >>> @inverse.calls
        ... def _(draw, strategies):
        ...     return draw(strategies.arrays(nonzero=True))
        >>> tg.check.check_op(inverse).examples
        50
        >>> del tg.OPS["inverse"]
        """

        def declare(function: Example) -> Example:
            chosen = None if of is None else tuple(of)
            self.example_calls[note] = ExampleCalls(function, chosen, tuple(always), tuple(large))
            return function

        return declare if function is None else declare(function)

    def states(self, options: Mapping[str, Any]) -> bool:
        """Return whether the formulas state a call with these static arguments.

        An option of an elementwise op that is a string, such as ``approximate="tanh"``, or that no
        formula names, such as ``at_zero=0.0``, chooses among formulas: those of the declaration are
        for its default.
        """
        if not self.elementwise:
            return True
        formulas = " ".join([self.formula, *[rule.formula for rule in self.derivatives.values()]])
        for name, default in zip(self.parameters, self._defaults, strict=True):
            if default is inspect.Parameter.empty or options.get(name, default) == default:
                continue
            letter = re.escape(self.aliases.get(name, name))
            if isinstance(default, str) or not re.search(rf"(?<!\w){letter}(?!\w)", formulas):
                return False
        return True

    def reads(self, of: str) -> set[str]:
        """Return the names of all that the rule for `of` reads, also through intermediates."""
        names = set(self.derivatives[of].needs)
        for name, function in reversed(self.intermediates.items()):
            if name in names:
                names.update(names_of(function))
        return names - {"g"}

    def _check_names(self, reader: str, names: Iterable[str], *excluded: str) -> None:
        """Raise if one of `names` cannot be read from a call, or is `excluded`."""
        given = ["y", "static", *self.parameters, *self.residuals, *self.intermediates]
        for name in names:
            parameter = name.removesuffix("_shape")
            if name not in given and parameter not in ("y", *self.parameters):
                raise TypeError(
                    f"op {self.name}: '{name}' is none of {', '.join(given)}, nor one's _shape"
                )
            if name in excluded:
                raise TypeError(f"op {self.name}: {reader} cannot read '{name}'")

    def _check_parameter(self, name: str) -> None:
        if name not in self.parameters:
            raise TypeError(f"op {self.name}: no parameter '{name}' in {self.signature}")

    def _sort_parameters(self) -> None:
        """Sort the parameters: operands (differentiable), other arrays (no default), static."""
        places = range(len(self.parameters))
        self._operands = [i for i in places if self.parameters[i] in self.derivatives]
        required = [i for i in places if self._defaults[i] is inspect.Parameter.empty]
        self._other_arrays = [i for i in required if i not in self._operands]
        self._static = [i for i in places if i not in self._operands + required]
        self.operands = tuple(self.parameters[i] for i in self._operands)
        self.static = tuple(self.parameters[i] for i in self._static)
        self._constants = self._other_arrays + self._static
        self._of_gradient = {n: f for n, f in self.intermediates.items() if "g" in names_of(f)}
        needs = [name for rule in self.derivatives.values() for name in rule.needs]
        needs += [name for function in self._of_gradient.values() for name in names_of(function)]
        others = [name for name in needs if name in self.intermediates.keys() - self._of_gradient]
        self._to_share = list(dict.fromkeys([*self.asked, *others]))
        self._is_plain = not self.guarded and not self._to_share

    def label(self, k: int) -> str:
        """Return the name of operand `k` for messages."""
        return f"{self.parameters[0]}[{k}]" if self.sequence else self.parameters[self._operands[k]]

    def may_be_none(self, k: int) -> bool:
        """Return whether operand `k` is optional."""
        return not self.sequence and self._defaults[self._operands[k]] is None


def names_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the parameters of `function`."""
    return tuple(inspect.signature(function).parameters)
