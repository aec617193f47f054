"""`DataParallel`: a model whose gradients are summed over the ranks during the backward."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import finalize

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tinygrad_cnn.core.hooks import GradientHooks, HookHandle, observe_leaves
from tinygrad_cnn.core.observer import Observer
from tinygrad_cnn.core.random import default
from tinygrad_cnn.core.recording import recording
from tinygrad_cnn.core.variable import Variable, array_of
from tinygrad_cnn.distributed.buckets import LIMIT
from tinygrad_cnn.distributed.faults import ONE_RANK, OneRank, shared
from tinygrad_cnn.distributed.gradients import Communication, Summation
from tinygrad_cnn.distributed.ranks import communicator, guard, rank
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.support.arguments import positive

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm, Request

__all__ = ["DataParallel", "distinct_generators", "guard_of", "unwrapped"]


class DataParallel(Module):
    """A model copied to every rank; each copy trains on its part of each batch.

    Parameters and buffers of rank 0 are sent to all ranks. After that, each ``backward()`` gives
    all ranks the same gradients: those of the mean loss over the examples of all ranks. They are
    sent in buckets, the last layers first, while the gradients of earlier layers are computed.

    Call this object, not `module`: it counts the examples, the length of the first argument. The
    loss of each rank must be the mean over its examples; a rank may have none.

    Parameters
    ----------
    module : Module
        The same on all ranks, but for its values.
    bucket_cap_mb : float
        The size of a bucket in MiB; the first is smaller. The gradients do not depend on it.

    Attributes
    ----------
    module : Module
    statistics : Communication
        The bytes sent and the seconds waited by this rank.

    Raises
    ------
    TypeError
        If `module` is not a Module. In a call, if no argument is an array or Tensor.
    ValueError
        If the names, shapes or dtypes of parameters or buffers differ between ranks; on all ranks.
        If `module` has a DataParallel in it, a parameter belongs to another DataParallel, or
        `bucket_cap_mb` is not positive. In a backward, if no rank has an example.
    RankError
        In a backward, on all ranks: if they are in those of different models.
    RuntimeError
        If a size of a layer is not determined yet. In a backward, on all ranks: if they do not
        train the same parameters, or only some are in `no_sync`. If the model was not called before
        it, or the sweep records a graph (``create_graph=True``).

    Notes
    -----
    Li et al., "PyTorch Distributed: experiences on accelerating data parallel training", 2020. With
    bᵣ the examples of rank r of B, the sum is Σ bᵣ/B · gᵣ, where gᵣ are the gradients of rank r.

    - Keep this object while you train: without it, gradients are not summed.
    - All ranks must call ``backward()`` equally often, and that of several models in one order. A
      parameter that no rank uses keeps its gradient, mostly None.
    - A hook of a parameter is called with this rank's gradient, before the sum.
    - Buffers, such as running means, are those of rank 0 after each backward. `BatchNorm2d`
      normalizes with each rank's own examples.
    - Random numbers differ between ranks: see `distinct_generators`, which is called here.
    - The names of parameters start with "module.", as in PyTorch; save ``module.state_dict()``.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> model = DataParallel(tg.nn.Linear(3, 2))  # without MPI: one rank
    >>> model(tg.Tensor([[1.0, 2.0, 3.0]])).sum().backward()
    >>> model.module.bias.grad
    array([1., 1.], dtype=float32)
    """

    def __init__(self, module: Module, bucket_cap_mb: float = LIMIT / 2**20) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"DataParallel: module is {type(module).__name__}, expected a Module")
        if any(isinstance(each, DataParallel) for each in module.modules()):
            raise ValueError(
                "DataParallel: module has a DataParallel in it; wrap the whole model once"
            )
        limit = int(positive("DataParallel", "bucket_cap_mb", bucket_cap_mb) * 2**20)
        self.module = module
        self.statistics = Communication()
        self._reducer: _Reducer | None = None
        comm = communicator()
        if comm is None or comm.size == 1:
            module._check_sized()
            return
        self._reducer = _Reducer(module, comm, self.statistics, limit)
        distinct_generators(module)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return ``module(...)``."""
        if not recording.get().on:
            return self.module(*args, **kwargs)
        examples = _examples([*args, *kwargs.values()])
        if self._reducer is None:
            return self.module(*args, **kwargs)
        self._reducer.called()
        outputs = self.module(*args, **kwargs)
        self._reducer.returned(outputs, examples)
        return outputs

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Accumulate gradients inside the block without communication of gradients.

        Each backward inside sums the numbers of examples over the ranks, a short message for which
        it waits, so all ranks call it equally often.
        The next backward outside sums them too. Forward and backward of a batch must both be
        inside, or both outside. Meanwhile ``.grad`` is this rank's share of the sum.

        Examples
        --------
        >>> import tinygrad_cnn as tg
        >>> model = DataParallel(tg.nn.Linear(3, 2))
        >>> with model.no_sync():
        ...     model(tg.Tensor([[1.0, 2.0, 3.0]])).sum().backward()
        >>> model(tg.Tensor([[1.0, 2.0, 3.0]])).sum().backward()
        >>> model.module.bias.grad
        array([2., 2.], dtype=float32)
        """
        if self._reducer is None:
            yield
            return
        before, self._reducer.is_on = self._reducer.is_on, False
        try:
            yield
        finally:
            self._reducer.is_on = before


def distinct_generators(model: Module) -> None:
    """Give each rank its own random numbers, where all ranks have generators in the same state.

    Otherwise `Dropout` would drop the same values on all ranks. `DataParallel` calls this function;
    call it after loading the states of generators from rank 0.

    Parameters
    ----------
    model : Module
        The generators in its modules' attributes, and the default generator (`manual_seed`), are
        set to new states, made from the old ones and the rank. Rank 0 keeps its states.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> distinct_generators(tg.nn.Dropout(0.5))
    """
    own = rank()
    found = [value for module in model.modules() for value in vars(module).values()]
    generators = [value for value in (*found, default.get()) if isinstance(value, Generator)]
    for generator in {id(g.bit_generator): g for g in generators}.values() if own else ():
        words = deepcopy(generator).integers(2**32, size=4, dtype=np.uint32).tolist()
        bits: Any = generator.bit_generator
        bits.state = type(bits)(np.random.SeedSequence([*words, own])).state


def guard_of(model: Module) -> OneRank:
    """Return the guard of the ranks that train `model`: this one alone without a DataParallel.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> guard_of(tg.nn.Linear(3, 2)).size
    1
    """
    return guard() if isinstance(model, DataParallel) else ONE_RANK


def unwrapped(model: Module) -> Module:
    """Return the module of a DataParallel, and any other model itself."""
    return model.module if isinstance(model, DataParallel) else model


def _examples(arguments: Sequence[Any]) -> int:
    """Return the length of the first array of a call, also one in a tuple, list or dict."""
    for value in _flat(arguments):
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple) and shape:
            return int(shape[0])
    came = ", ".join(type(value).__name__ for value in arguments) or "nothing"
    raise TypeError(
        f"DataParallel: expected a Tensor or array of shape (N, ...) as first argument, got {came}"
    )


def _flat(values: Any) -> Iterator[Any]:
    """Yield the values in tuples, lists and dicts, to any depth."""
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, list | tuple):
        for value in values:
            yield from _flat(value)
    else:
        yield values


class _Reducer(Observer):
    """Sums gradients over the ranks while a sweep computes them.

    Attributes
    ----------
    is_on : bool
        False inside `DataParallel.no_sync`.
    """

    _numbers = count(1)  # all ranks create them in the same order

    def __init__(
        self, module: Module, comm: Intracomm, statistics: Communication, limit: int
    ) -> None:
        self._statistics, self._limit = statistics, limit
        self._name = f"DataParallel {next(self._numbers)}"
        self._sweeps = 0
        parameters: dict[str, Variable] = dict(module.named_parameters())
        buffers: dict[str, Variable] = dict(module.named_buffers())
        for name, parameter in parameters.items():
            hooks = parameter._hooks
            if hooks is not None and any(isinstance(o, _Reducer) for o in hooks.observers()):
                raise ValueError(
                    f"DataParallel: {name} belongs to another DataParallel, which would sum its "
                    "gradients again; delete that one first"
                )
        _check_agreement(self._name, {**parameters, **buffers})
        # Its own, as the order of the messages of two models may differ between ranks.
        self._comm = comm.Dup()
        finalize(self, _free, self._comm, os.getpid()).atexit = False
        for tensor in (*parameters.values(), *buffers.values()):
            _broadcast(tensor, comm)
        equal = {  # synchronized statistics are the same on all ranks anyway
            id(buffer)
            for each in module.modules()
            if getattr(each, "ranks", None) is not None
            for buffer in each.buffers()
        }
        self._parameters = parameters
        self._buffers = [b for b in buffers.values() if id(b) not in equal]
        self._sent: tuple[NDArray[Any], Request] | None = None  # the bytes of the buffers
        self._summation: Summation | None = None
        self._trained: tuple[str, ...] = ()
        self.is_on = True
        self._is_local = False  # .grad holds shares of this rank, of sweeps without sums
        # Of two models, batch norms compare only their numbers.
        self._exchanges = any(getattr(each, "ranks", None) for each in module.modules())
        self._calls = count()
        self._reached: dict[int, int] = {}  # the examples of the calls that a sweep has reached
        self._latest: int | None = None  # those of the last call
        self._weight = 0.0  # this rank's share of the examples
        self._shares: dict[Variable, NDArray[Any]] = {}
        self._earlier: dict[Variable, NDArray[Any] | None] = {}
        self._in_sweep = False
        observe_leaves(self, parameters.values())

    def called(self) -> None:
        """Begin a call of the model."""
        if self._in_sweep:
            raise RuntimeError(
                "DataParallel: an earlier backward() did not end, so gradients of other ranks are "
                "missing; end the program"
            )
        self._reached.clear()
        if self._exchanges:
            guard().exchange(f"{self._name}: forward()")

    def returned(self, outputs: Any, examples: int) -> None:
        """Count the examples of a call, once a sweep reaches one of its results."""
        call = next(self._calls)
        self._latest = examples

        def reached(gradient: Any) -> None:
            self._reached[call] = examples

        for output in _flat(outputs):
            if isinstance(output, Variable) and output.node is not None:
                HookHandle(GradientHooks.of(output.node).functions, reached)

    def __reduce__(self) -> NoReturn:
        raise TypeError("DataParallel: a copy or pickle cannot communicate; copy its module")

    # --- the sweep -------------------------------------------------------------------------------

    def final(self, leaf: Variable, gradient: Any) -> None:
        """Put a gradient into its bucket."""
        if isinstance(gradient, Variable):
            raise RuntimeError(
                "DataParallel: backward(create_graph=True) is not supported: the graph does not "
                "reach other ranks; use tg.grad for the inner derivative"
            )
        if not self._in_sweep:
            self._begin()
        if self.is_on:
            assert self._summation is not None
            earlier = leaf._grad if self._is_local else None
            self._summation.put(leaf, gradient, self._weight, array_of(earlier))
        elif self._weight:
            self._shares[leaf] = gradient * gradient.dtype.type(self._weight)
        else:
            self._shares[leaf] = np.zeros_like(gradient)

    def swept(self, gradients: Mapping[Variable, Any], accumulates: bool) -> None:
        """Wait for the sums, and set ``.grad``."""
        if self._exchanges:  # another rank may still be in a batch norm
            guard().exchange(f"{self._name}, sweep {self._sweeps}: the end of backward()")
        if self.is_on:
            self._sum()
        else:
            self._accumulate()
        self._in_sweep = False
        self._reached.clear()
        self._is_local = not self.is_on

    def _begin(self) -> None:
        """Learn this rank's share of the examples, and check that all ranks do the same."""
        trained = tuple(name for name, p in self._parameters.items() if p.requires_grad)
        if self._summation is None or trained != self._trained:
            leaves = [self._parameters[name] for name in trained]
            self._summation = Summation(leaves, self._comm, self._statistics, self._limit)
            self._trained = trained
        examples = sum(self._reached.values()) if self._reached else self._latest or 0
        mark = zlib.crc32(repr((self.is_on, trained)).encode()) >> 12
        self._sweeps += 1
        where = f"{self._name}, sweep {self._sweeps}: backward()"
        called = self._latest is not None
        summed = guard().exchange(where, examples, mark, mark * mark, called)
        total, marks, squares, callers = map(int, summed)
        if guard().size * squares != marks * marks:  # not all the same
            _explain_difference(self.is_on, trained)
        if not callers:
            raise shared(
                RuntimeError(
                    "DataParallel: backward() reached the parameters, but the DataParallel was not "
                    "called on any rank; call it instead of its module"
                )
            )
        if not total:
            raise shared(
                ValueError("DataParallel: backward() of a batch in which no rank has an example")
            )
        self._weight = examples / total
        self._earlier = {p: array_of(p._grad) for p in self._parameters.values()}
        self._in_sweep = True
        if self.is_on and self._buffers:
            data = [np.ascontiguousarray(b._array).reshape(-1).view("u1") for b in self._buffers]
            packed = np.concatenate(data)
            self._sent = packed, self._comm.Ibcast(packed, 0)

    def _sum(self) -> None:
        summation = self._summation
        assert summation is not None
        for leaf in summation.missing():
            summation.put(leaf, array_of(leaf._grad) if self._is_local else None, 1.0)
        for leaf, total in summation.finish():
            earlier = None if self._is_local else self._earlier[leaf]
            leaf._grad = earlier if total is None else total if earlier is None else earlier + total
        self._take_buffers()
        self._earlier.clear()

    def _accumulate(self) -> None:
        for leaf, earlier in self._earlier.items():
            if earlier is not None and not self._is_local:
                earlier = earlier / earlier.dtype.type(self._comm.size)
            share = self._shares.get(leaf)
            leaf._grad = share if earlier is None else earlier if share is None else earlier + share
        self._shares.clear()
        self._earlier.clear()

    def _take_buffers(self) -> None:
        """Wait for the buffers of rank 0, and copy them."""
        if self._sent is None:
            return
        data, request = self._sent
        with guard().waiting("DataParallel: the buffers of rank 0"):
            request.Wait()
        self._sent, start = None, 0
        for buffer in self._buffers if self._comm.rank else ():
            array = buffer._array
            part = data[start : start + array.nbytes].view(array.dtype)
            start += array.nbytes
            array[...] = part.reshape(array.shape)
            buffer._mark_changed()


def _free(comm: Intracomm, process: int) -> None:
    """Free a communicator, unless in a fork of its process."""
    from mpi4py import MPI

    if os.getpid() == process and not MPI.Is_finalized():
        comm.Free()


def _broadcast(tensor: Variable, comm: Intracomm) -> None:
    """Give all ranks the value of rank 0."""
    array = np.array(tensor._array, order="C")
    comm.Bcast(array, 0)
    if comm.rank:
        tensor._array[...] = array
        tensor._mark_changed()


def _check_agreement(owner: str, tensors: Mapping[str, Variable]) -> None:
    """Raise ValueError on all ranks if names, shapes or dtypes differ from those of rank 0."""
    own = {name: (t.shape, t.dtype.name) for name, t in tensors.items()}
    models = guard().gather(f"{owner}: the parameters", own)
    for other, model in enumerate(models):
        for name in dict.fromkeys([*models[0], *model]):
            came, expected = model.get(name), models[0].get(name)
            if came != expected:
                text = (
                    f"DataParallel: the models differ: {name} is {_described(came)} on rank "
                    f"{other}, but {_described(expected)} on rank 0"
                )
                raise shared(ValueError(text))
        if list(model) != list(models[0]):
            text = (
                f"DataParallel: rank {other} has the parameters in another order than rank 0: "
                f"{', '.join(model)}"
            )
            raise shared(ValueError(text))


def _described(kind: tuple[tuple[int, ...], str] | None) -> str:
    return "missing" if kind is None else f"{kind[1]} of shape {kind[0]}"


def _explain_difference(is_on: bool, trained: tuple[str, ...]) -> None:
    """Raise RuntimeError on all ranks about different sweeps."""
    every = guard().gather("DataParallel: the differences", (is_on, trained))
    for other, (on, names) in enumerate(every):
        if on != every[0][0]:
            text = (
                f"DataParallel: rank {other} is {'outside' if on else 'inside'} no_sync(), but "
                f"rank 0 is {'inside' if on else 'outside'}"
            )
            raise shared(RuntimeError(text))
        different = sorted(set(names) ^ set(every[0][1]))
        if different:
            text = (
                f"DataParallel: {different[0]} requires a gradient on rank "
                f"{other if different[0] in names else 0} only, not on rank "
                f"{0 if different[0] in names else other}"
            )
            raise shared(RuntimeError(text))
