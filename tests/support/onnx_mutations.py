"""Damaged ONNX files: fields of the protobuf messages that a format allows but nobody writes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor

from support.mutations import NUMBERS, WORDS, mutate_bytes

OPERATORS = (
    "Add", "Cast", "Concat", "ConstantOfShape", "Conv", "ConvTranspose", "Expand", "Flatten",
    "Gather", "Gemm", "Identity", "If", "Loop", "MatMul", "MaxPool", "OneHot", "Pad", "Range",
    "Reshape", "Resize", "Shape", "Slice", "Softmax", "Split", "Squeeze", "Tile", "TopK",
    "Transpose", "Where", "SequenceConstruct", "Strange",
)  # fmt: skip
SMALL = (0, 1, 2, 3, 5, 7, 16, -1, -2, -3, 100, 1000)
BIG = (1 << 31, (1 << 63) - 1, -(1 << 63), 1 << 40, 1 << 32, 10**6, 10**9)


def mutate_onnx(contents: bytes, rng: random.Random) -> bytes:
    """Change some fields of a model."""
    model = onnx.ModelProto.FromString(contents)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(fields(model))
        names = [value for message, field in places if field.type == field.TYPE_STRING
                 for value in values(message, field)]  # fmt: skip
        message, field = rng.choice(places)
        change(message, field, names, rng)
    if rng.random() < 0.02:
        nest(model, rng.choice((10, 40, 90)))
    return model.SerializeToString()


def fields(message: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Yield the fields of a message and of those inside."""
    for field in message.DESCRIPTOR.fields:
        filled = bool(values(message, field))
        if filled or depth < 4:
            yield message, field
        if field.message_type is not None and filled:
            for inner in values(message, field):
                yield from fields(inner, depth + 1)


def repeated(field: Any) -> bool:
    return bool(field.is_repeated)


def values(message: Any, field: Any) -> list[Any]:
    """Return the values of a field; empty if it is not set."""
    if repeated(field):
        return list(getattr(message, field.name))
    return [getattr(message, field.name)] if message.HasField(field.name) else []


def change(message: Any, field: Any, names: list[str], rng: random.Random) -> None:
    """Change a field: another value, no value, a second or a swapped one."""
    held = getattr(message, field.name)
    if field.message_type is not None:
        if repeated(field):
            action = rng.randrange(4)
            if action == 0 and held:
                del held[rng.randrange(len(held))]
            elif action == 1 and held:
                held.add().CopyFrom(rng.choice(list(held)))
            elif action == 2 and len(held) > 1:
                a, b = rng.sample(range(len(held)), 2)
                held[a].CopyFrom(held[b])
            else:
                held.add()
        elif rng.random() < 0.5:
            message.ClearField(field.name)
        else:
            held.SetInParent()
        return
    if repeated(field):
        action = rng.randrange(5)
        if action == 0 and held:
            del held[rng.randrange(len(held))]
        elif action == 1 or not held:
            held.append(value(field, names, rng))
        elif action == 2:
            held.extend([rng.choice(list(held))] * rng.choice((1, 10, 70)))
        else:
            held[rng.randrange(len(held))] = value(field, names, rng)
    elif rng.random() < 0.1:
        message.ClearField(field.name)
    elif field.name == "op_type":
        message.op_type = rng.choice(OPERATORS)
    elif field.type == FieldDescriptor.TYPE_BYTES and rng.random() < 0.7:
        setattr(message, field.name, mutate_bytes(held, rng))
    else:
        setattr(message, field.name, value(field, names, rng))


def value(field: Any, names: list[str], rng: random.Random) -> Any:
    """Return a value of a field's type."""
    kind = field.type
    if kind == FieldDescriptor.TYPE_STRING:
        text = rng.choice(names) if names and rng.random() < 0.6 else rng.choice(WORDS)
        return text.encode("utf-8", "replace").decode()
    if kind == FieldDescriptor.TYPE_BYTES:
        return rng.choice((b"", b"\xff\xfe", b"SAME_UPPER", b"linear", b"\0" * 8))
    if kind in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return rng.choice((0.0, -1.0, 0.5, 1e30, float("inf"), float("nan"), 1e-30))
    if kind == FieldDescriptor.TYPE_ENUM:
        return rng.choice([each.number for each in field.enum_type.values])
    number = rng.choice(SMALL if rng.random() < 0.6 else BIG + NUMBERS)
    bits = 32 if kind in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_UINT32) else 64
    if kind in (FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_UINT32):
        return number % (1 << bits)
    return (number + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def nest(model: Any, depth: int) -> None:
    """Put branches in branches."""
    graph = model.graph
    for _ in range(depth // 3):  # a graph in an attribute in a node: three levels of messages
        outer = graph.node.add(op_type="If", input=["same"], output=["nested"])
        graph = outer.attribute.add(name="then_branch", type=5).g
        graph.output.add(name="nested")
