"""The nodes of an ONNX file as a list of calls, in order, with the local functions inlined."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.onnx.errors import OnnxError
from tinygrad_cnn.onnx.operator import Operator, short
from tinygrad_cnn.onnx.tensors import TensorReader

__all__ = ["Body", "GraphReader", "NodeCall", "in_order", "needed"]

MOST_CALLS = 200_000
_DEEPEST = 32  # of graphs in graphs, and functions in functions
_STANDARD = ("", "ai.onnx")
_SHOWN = 20  # of the nodes of a circle, in a message


@dataclass(slots=True)
class NodeCall:
    """A node: an operator with the names of its inputs and outputs; "" for one left out.

    `modules` are those that called it, as in "/layer1/layer1.0/conv1/Conv", if the file says so
    apart from the name.
    """

    operator: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    modules: str = ""

    def bodies(self) -> Iterator[Body]:
        """Yield the graphs among the attributes."""
        return (value for value in self.operator.attributes.values() if isinstance(value, Body))

    def nested(self) -> Iterator[NodeCall]:
        """Yield the call and those in its graphs."""
        yield self
        for body in self.bodies():
            for inner in body.calls:
                yield from inner.nested()

    def reads(self) -> Iterator[str]:
        """Yield the names of the values that it reads, also in its graphs."""
        yield from filter(None, self.inputs)
        for body in self.bodies():
            yield from body.reads()

    def renamed(self, names: Mapping[str, str]) -> NodeCall:
        """Return the call with other names of values."""
        bodies = {
            key: value.renamed(names)
            for key, value in self.operator.attributes.items()
            if isinstance(value, Body)
        }
        operator = replace(self.operator, attributes={**self.operator.attributes, **bodies})
        inputs, outputs = (
            tuple(names.get(name, name) for name in some) for some in (self.inputs, self.outputs)
        )
        return NodeCall(operator, inputs, outputs, self.modules)


@dataclass(slots=True)
class Body:
    """A graph: calls and constants.

    Attributes
    ----------
    calls : list of NodeCall
    constants : dict of str to ndarray
        The initializers and the values of Constant nodes.
    from_nodes : set of str
        The constants that Constant nodes gave.
    inputs : list of ValueInfoProto
        Those that are not constants.
    arguments : set of str
        Their names.
    outputs : list of str
    """

    calls: list[NodeCall] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    from_nodes: set[str] = field(default_factory=set)
    inputs: list[Any] = field(default_factory=list)
    arguments: set[str] = field(default_factory=set)
    outputs: list[str] = field(default_factory=list)

    def defines(self) -> Iterator[str]:
        """Yield the names of the values that are defined here."""
        yield from self.constants
        for call in self.calls:
            yield from filter(None, call.outputs)

    def reads(self) -> set[str]:
        """Return the names of outside values that are read here."""
        read = {name for call in self.calls for name in call.reads()} | set(self.outputs)
        return read - set(self.defines()) - self.arguments

    def merged(self, names: dict[int, str]) -> Body:
        """Return the body with one name for constants that are the same array.

        Calls of one function have them: they share a weight. `names` has those of arrays so far,
        by their id, and gets those here.
        """
        same = {}
        for name, array in self.constants.items():
            first = names.setdefault(id(array), name)
            if first != name:
                same[name] = first
        return self.renamed(same) if same else self

    def renamed(self, names: Mapping[str, str]) -> Body:
        """Return the body with other names of values."""
        return Body(
            [call.renamed(names) for call in self.calls],
            {names.get(name, name): array for name, array in self.constants.items()},
            {names.get(name, name) for name in self.from_nodes},
            self.inputs,
            {names.get(name, name) for name in self.arguments},
            [names.get(name, name) for name in self.outputs],
        )


class GraphReader:
    """Reads graphs of one file.

    Parameters
    ----------
    model : ModelProto
    tensors : TensorReader
    """

    def __init__(self, model: Any, tensors: TensorReader) -> None:
        self._tensors = tensors
        self._opsets = opsets(model.opset_import, "the file")
        self._functions = {
            (_domain(f.domain), f.name, getattr(f, "overload", "")): f for f in model.functions
        }
        self._made: dict[int, tuple[Any, Any]] = {}
        self._calls = 0
        self._numbers = itertools.count(1)

    def _once(self, source: Any, make: Callable[[], Any]) -> Any:
        """Return what is made of a part of the file, made only once: functions repeat parts."""
        key = id(source)  # of an object that stays alive, as it is in the table too
        if key not in self._made:
            self._made[key] = source, make()
        return self._made[key][1]

    def body(self, graph: Any, depth: int = 0, rename: Callable[[str], str] = str) -> Body:
        """Return the body of a GraphProto."""
        return self._body(graph, self._opsets, {}, depth, rename)

    def _body(
        self, graph: Any, versions: Mapping[str, int], references: Mapping[str, Any], depth: int,
        rename: Callable[[str], str],
    ) -> Body:  # fmt: skip
        if depth > _DEEPEST:
            raise OnnxError(f"graphs are nested more than {_DEEPEST} deep")
        body = Body(outputs=[rename(info.name) for info in graph.output])
        for sparse in graph.sparse_initializer:
            raise OnnxError(f"initializer {sparse.values.name!r} is sparse, expected a dense one")
        for tensor in graph.initializer:
            name = rename(tensor.name)
            if not name or name in body.constants:
                raise OnnxError(f"two initializers are named {name!r}" if name else
                                "an initializer has no name")  # fmt: skip
            where = f"initializer {short(name)}"
            body.constants[name] = self._once(tensor, partial(self._tensors.array, tensor, where))
        body.inputs = [info for info in graph.input if rename(info.name) not in body.constants]
        body.arguments = {rename(info.name) for info in body.inputs}
        self._add(body, graph.node, versions, references, depth, rename)
        return body

    def _add(
        self, body: Body, nodes: Iterable[Any], versions: Mapping[str, int],
        references: Mapping[str, Any], depth: int, rename: Callable[[str], str],
    ) -> None:  # fmt: skip
        """Append the calls of nodes, and the constants of Constant nodes."""
        for node in nodes:
            self._calls += 1
            if self._calls > MOST_CALLS:
                raise OnnxError(f"more than {MOST_CALLS:,} nodes, with those of functions")
            inputs = tuple(rename(name) if name else "" for name in node.input)
            outputs = tuple(rename(name) if name else "" for name in node.output)
            domain = _domain(node.domain)
            name = node.name or next(filter(None, outputs), "")
            function = self._functions.get((domain, node.op_type, getattr(node, "overload", "")))
            op_type = f"{domain}::{node.op_type}" if domain else node.op_type
            where = str(Operator(op_type, name))
            attributes = {}
            for attribute in node.attribute:
                source = attribute
                if attribute.ref_attr_name:
                    if attribute.ref_attr_name not in references:
                        continue
                    source = references[attribute.ref_attr_name]
                if function is not None:
                    attributes[attribute.name] = source
                    continue
                inside = versions, references, depth + 1, rename
                value = partial(self._value, source, inside, where, attribute.name)
                is_graph = source.HasField("g")  # with other names at each call of a function
                attributes[attribute.name] = value() if is_graph else self._once(source, value)
            if function is not None:
                self._inline(body, function, inputs, outputs, attributes, depth + 1, where)
                continue
            if domain not in versions:
                raise OnnxError(f"{where}: the file states no version of the domain {domain!r}")
            if op_type == "Constant" and outputs:
                if outputs[0] in body.constants or outputs[0] in body.arguments:
                    raise OnnxError(f"{where}: its output {short(outputs[0])} is there already")
                value = partial(_constant, attributes, where)
                made = next(iter(attributes.values()), None)
                body.constants[outputs[0]] = self._once(made, value)
                body.from_nodes.add(outputs[0])
                continue
            last = max((i + 1 for i, output in enumerate(outputs) if output), default=0)
            operator = Operator(op_type, name, versions[domain], attributes, last)
            body.calls.append(NodeCall(operator, inputs, outputs, _modules(node)))

    def _value(self, proto: Any, inside: Any, where: str, name: str) -> Any:
        """Return the value of an attribute."""
        kind = proto.AttributeType.Name(proto.type) if proto.type else "UNDEFINED"
        where = f"{where}, attribute {name}"
        match kind:
            case "FLOAT":
                return proto.f
            case "INT":
                return proto.i
            case "STRING":
                return proto.s.decode("utf-8", "replace")
            case "FLOATS":
                return list(proto.floats)
            case "INTS":
                return list(proto.ints)
            case "STRINGS":
                return [text.decode("utf-8", "replace") for text in proto.strings]
            case "TENSOR":
                return self._tensors.array(proto.t, where)
            case "TENSORS":
                return [self._tensors.array(tensor, where) for tensor in proto.tensors]
            case "GRAPH":
                return self._body(proto.g, *inside)
        raise OnnxError(f"{where}: values of type {kind} cannot be loaded")

    def _inline(
        self, body: Body, function: Any, inputs: Sequence[str], outputs: Sequence[str],
        attributes: Mapping[str, Any], depth: int, where: str,
    ) -> None:  # fmt: skip
        """Append the calls of a function of the file."""
        if depth > _DEEPEST:
            raise OnnxError(f"{where}: functions call each other more than {_DEEPEST} deep")
        if len(inputs) > len(function.input) or len(outputs) > len(function.output):
            raise OnnxError(
                f"{where}: has {len(inputs)} inputs and {len(outputs)} outputs, its function takes "
                f"{len(function.input)} and returns {len(function.output)}"
            )
        names = dict.fromkeys(function.input, "")
        names.update(zip(function.input, inputs, strict=False))
        names.update((a, b) for a, b in zip(function.output, outputs, strict=False) if b)
        prefix = f"{function.name}_{next(self._numbers)}/"
        references = {proto.name: proto for proto in function.attribute_proto} | dict(attributes)
        versions = {**self._opsets, **opsets(function.opset_import, where)}
        self._add(
            body, function.node, versions, references, depth,
            lambda name: names.get(name, prefix + name),
        )  # fmt: skip
        for name, actual in zip(function.output, outputs, strict=False):
            if actual and name in function.input:  # returned as it came
                source = dict(zip(function.input, inputs, strict=False)).get(name, "")
                operator = Operator("Identity", actual, versions.get("", 1))
                body.calls.append(NodeCall(operator, (source,), (actual,)))


def opsets(imports: Iterable[Any], where: str) -> dict[str, int]:
    """Return the versions of the domains that a file states."""
    from onnx import defs

    found: dict[str, int] = {}
    for entry in imports:
        domain = _domain(entry.domain)
        newest = defs.onnx_opset_version() if not domain else 1 << 31
        if not 1 <= entry.version <= newest:
            raise OnnxError(f"{where} states version {entry.version} of the operators of "
                            f"{domain or 'ONNX'}, expected 1 to {newest}")  # fmt: skip
        found[domain] = entry.version
    return found


def _modules(node: Any) -> str:
    """Return the modules that called a node, from the metadata of PyTorch's exporter.

    There they are ": Net/layer1: Sequential/layer1.0: Block/relu: aten.relu".
    """
    for entry in getattr(node, "metadata_props", ()):
        if entry.key == "namespace":
            names = [part.partition(":")[0].strip() for part in entry.value.split("/")]
            return "/" + "/".join(filter(None, names))
    return ""


def _domain(name: str) -> str:
    return "" if name in _STANDARD else name


def _constant(attributes: Mapping[str, Any], where: str) -> NDArray[Any]:
    """Return the value of a Constant node."""
    kinds = {
        "value": None, "value_float": "f4", "value_floats": "f4", "value_int": "i8",
        "value_ints": "i8", "value_string": "O", "value_strings": "O",
    }  # fmt: skip
    if len(attributes) != 1 or (name := next(iter(attributes))) not in kinds:
        raise OnnxError(f"{where}: has the attributes {', '.join(attributes) or 'none'}, expected "
                        f"one of {', '.join(kinds)}")  # fmt: skip
    value = attributes[name]
    if name == "value" and not isinstance(value, np.ndarray):
        raise OnnxError(f"{where}: its value is {type(value).__name__}, expected a tensor")
    return np.asarray(value, kinds[name])


def in_order(calls: list[NodeCall], known: Iterable[str]) -> list[NodeCall]:
    """Return the calls sorted so that each follows those whose results it reads.

    The calls of their graphs are sorted in place.

    Raises
    ------
    OnnxError
        If a value is computed twice, not at all, or from itself.
    """
    makers: dict[str, int] = {}
    names = set(known)
    for i, call in enumerate(calls):
        for name in filter(None, call.outputs):
            if name in makers or name in names:
                earlier = calls[makers[name]].operator if name in makers else "the inputs"
                raise OnnxError(f"{call.operator}: its output {short(name)} is there already, of "
                                f"{earlier}")  # fmt: skip
            makers[name] = i
    for inner in itertools.chain.from_iterable(call.bodies() for call in calls):
        around = inner.reads()  # computed outside, which the loop below finds out
        inner.calls = in_order(inner.calls, {*around, *inner.arguments, *inner.constants})
    before: dict[int, set[int]] = {}
    is_sorted = True
    for i, call in enumerate(calls):
        for name in call.reads():
            if name in names:
                continue
            if name not in makers:
                raise OnnxError(f"{call.operator}: nothing computes its input {short(name)}")
            before.setdefault(i, set()).add(makers[name])
            is_sorted &= makers[name] < i
    if is_sorted:
        return calls
    try:
        sorter = TopologicalSorter({i: before.get(i, ()) for i in range(len(calls))})
        order = list(sorter.static_order())
    except CycleError as error:
        circle = " → ".join(str(calls[i].operator) for i in error.args[1][:_SHOWN])
        raise OnnxError(f"nodes read each other's results in a circle: {circle}") from None
    return [calls[i] for i in order]


def needed(calls: Sequence[NodeCall], outputs: Iterable[str]) -> list[NodeCall]:
    """Return the calls without those that no output needs."""
    wanted = set(outputs)
    kept = []
    for call in reversed(calls):
        if not wanted.isdisjoint(call.outputs):
            kept.append(call)
            wanted.update(call.reads())
    return kept[::-1]
