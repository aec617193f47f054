"""Malformed ONNX files: an error that says what is wrong, no other file read, memory bounded."""

from __future__ import annotations

import os
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.onnx_models import FLOAT, block, model, node, save_with_data, value
from support.opened import watched

import tinygrad_cnn as tg
from tinygrad_cnn.onnx import OnnxError, calls, folding

MEGABYTE = 1 << 20
tg.onnx.load(onnx.parser.parse_model(  # imports all that loading needs
    '<ir_version: 8, opset_import: ["": 20]> g (float[2] x) => (float[2] y) { y = Relu(x) }'
))  # fmt: skip


def relu(**changes: Any) -> Any:
    proto = model([node("Relu", "x", "y", name="act")], {"x": [2]}, ["y"])
    for name, change in changes.items():
        change(getattr(proto.graph, name))
    return proto


def with_tensor(**fields: Any) -> Any:
    """Return x + w with fields of the tensor w changed."""
    proto = model([node("Add", "x w", "y")], {"x": [2]}, ["y"])
    tensor = proto.graph.initializer.add(name="w", data_type=FLOAT, dims=[2], float_data=[1, 2])
    for name, content in fields.items():
        tensor.ClearField(name)
        if isinstance(content, list):
            getattr(tensor, name).extend(content)
        else:
            setattr(tensor, name, content)
    return proto


def of_nodes(*nodes: Any, **arrays: Any) -> Any:
    return model(nodes, {"x": [2]}, ["y"], {k: np.array(a) for k, a in arrays.items()})


def sequence_input() -> Any:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    return relu(input=lambda x: x.add(name="many").type.CopyFrom(kind))


def circle() -> Any:
    return of_nodes(node("Add", "x b", "a", name="first"), node("Relu", "a", "b", name="second"),
                    node("Neg", "b", "y"))  # fmt: skip


def functions(*names: str) -> Any:
    """Return functions that call each other in a circle."""
    made = [
        helper.make_function(
            "local", name, ["x"], ["y"], [node(after, "x", "y", domain="local")],
            [helper.make_opsetid("local", 1)],
        )
        for name, after in zip(names, [*names[1:], names[0]], strict=True)
    ]  # fmt: skip
    call = node(names[0], "x", "y", domain="local")
    return model([call], {"x": [2]}, ["y"], functions=made, domains={"local": 1})


def laughs() -> Any:
    """Return 40 functions, each of which calls the one before twice."""
    imports = [helper.make_opsetid("local", 1), helper.make_opsetid("", 20)]
    made = [helper.make_function("local", "f0", ["x"], ["y"], [node("Relu", "x", "y")], imports)]
    for i in range(1, 40):
        twice = [node(f"f{i - 1}", "x", "h", domain="local"),
                 node(f"f{i - 1}", "h", "y", domain="local")]  # fmt: skip
        made.append(helper.make_function("local", f"f{i}", ["x"], ["y"], twice, imports))
    call = node("f25", "x", "y", domain="local")
    return model([call], {"x": [2]}, ["y"], functions=made, domains={"local": 1})


def nested(depth: int) -> Any:
    proto = relu()
    graph = proto.graph
    for _ in range(depth):
        outer = graph.node.add(op_type="If", input=["x"], output=["z"])
        graph = outer.attribute.add(name="then_branch", type=5).g
    return proto


def branch(*nodes: Any) -> Any:
    """Return a model whose If has these nodes in both graphs."""
    graph = helper.make_graph(nodes, "branch", [], [value("o", None)])
    chosen = node("If", "c", "y", then_branch=graph, else_branch=graph)
    return of_nodes(chosen, c=True)


def versions(*given: tuple[str, int]) -> Any:
    proto = relu()
    del proto.opset_import[:]
    proto.opset_import.extend(helper.make_opsetid(*each) for each in given)
    return proto


MALFORMED: dict[str, tuple[Callable[[], Any], str]] = {
    "no bytes": (lambda: b"", "this is not an ONNX file, or a damaged one"),
    "text": (lambda: b"hello, world", "this is not an ONNX file"),
    "cut": (lambda: block().SerializeToString()[:500], "this is not an ONNX file"),
    "no outputs": (lambda: relu(output=lambda x: x.pop()), "the graph has no outputs"),
    "no version": (versions, "Relu 'act': the file states no version of the domain ''"),
    "version 0": (lambda: versions(("", 0)), "the file states version 0 of the operators of ONNX"),
    "version 99": (lambda: versions(("", 99)), "states version 99 of the operators of ONNX"),
    "other domain": (lambda: versions(("other", 1)), "states no version of the domain ''"),
    "negative size": (lambda: with_tensor(dims=[-2]), r"initializer 'w': no array has .* \(-2,\)"),
    "huge size": (lambda: with_tensor(dims=[1 << 62]), "initializer 'w': no array has the shape"),
    "huge product": (lambda: with_tensor(dims=[1 << 40, 1 << 40]), "'w': no array has the shape"),
    "large size": (lambda: with_tensor(dims=[1 << 40]), r"has 2 values for .* expected 10995"),
    "empty but huge": (lambda: with_tensor(dims=[0, 1 << 62]), "no array has the shape"),
    "many axes": (lambda: with_tensor(dims=[1] * 70), "'w': has 70 axes, expected at most 32"),
    "few values": (lambda: with_tensor(dims=[3]), r"has 2 values for the shape \(3,\), expected 3"),
    "few bytes": (lambda: with_tensor(raw_data=b"1234567"), "has 7 bytes .* FLOAT, expected 8"),
    "unknown type": (lambda: with_tensor(data_type=77), "'w': elements of type of number 77"),
    "float8": (lambda: with_tensor(data_type=TensorProto.FLOAT8E4M3FN), "type FLOAT8E4M3FN"),
    "int4": (lambda: with_tensor(data_type=TensorProto.INT4), "'w': elements of type INT4"),
    "complex": (lambda: with_tensor(data_type=TensorProto.COMPLEX64), "of type COMPLEX64"),
    "sparse": (lambda: relu(sparse_initializer=lambda x: x.add().values.MergeFrom(
        TensorProto(name="s"))), "initializer 's' is sparse"),
    "unnamed": (lambda: with_tensor(name=""), "an initializer has no name"),
    "twice": (lambda: relu(initializer=lambda x: x.extend(
        [helper.make_tensor("w", 1, [1], [1.0])] * 2)), "two initializers are named 'w'"),
    "missing input": (lambda: of_nodes(node("Add", "x gone", "y", name="sum")),
                      "Add 'sum': nothing computes its input 'gone'"),
    "output twice": (lambda: of_nodes(node("Relu", "x", "y", name="a"), node("Neg", "x", "y")),
                     "Neg 'y': its output 'y' is there already, of Relu 'a'"),
    "input as output": (lambda: of_nodes(node("Relu", "x", "x"), node("Neg", "x", "y")),
                        "its output 'x' is there already, of the inputs"),
    "circle": (circle, "in a circle: .*(first|second)"),
    "own input": (lambda: of_nodes(node("Add", "x y", "y", name="sum")), "in a circle: Add 'sum'"),
    "few inputs": (lambda: of_nodes(node("Gemm", "x", "y", name="g")),
                   "Gemm 'g': has 1 inputs, expected 2 to 3"),
    "many inputs": (lambda: of_nodes(node("Relu", "x x", "y")), "has 2 inputs, expected 1"),
    "sequence": (sequence_input, "input 'many' is sequence_type, expected a tensor"),
    "undeclared": (lambda: relu(input=lambda x: x.add(name="v")), "input 'v' is of no type"),
    "same inputs": (lambda: relu(input=lambda x: x.append(x[0])), "the inputs are named 'x', 'x'"),
    "recursive": (lambda: functions("a", "b"), "functions call each other more than 32 deep"),
    "recursive in itself": (lambda: functions("a"), "functions call each other more than 32 deep"),
    "many calls": (laughs, "more than 10,000 nodes"),
    "nested": (lambda: nested(33), "graphs are nested more than 32 deep"),
    "nested more": (lambda: nested(200).SerializeToString(), "not an ONNX file|more than 32 deep"),
    "circle in a branch": (lambda: branch(node("Neg", "t", "o", name="n"), node("Abs", "o", "t")),
                           "in a circle: (Neg 'n'|Abs 't')"),
    "output twice in a branch": (lambda: branch(node("Neg", "x", "o"), node("Abs", "x", "o")),
                                 "Abs 'o': its output 'o' is there already, of Neg 'o'"),
    "constant twice": (lambda: of_nodes(*[node("Constant", "", "c", value_float=1.0)] * 2,
                                        node("Add", "x c", "y")),
                       "Constant 'c': its output 'c' is there already"),
    "input left out": (lambda: of_nodes(node("Expand", "- s", "y", name="e"), s=[2]),
                       "Expand 'e': its input 0 is left out, but is needed"),
    "one of many left out": (lambda: of_nodes(node("Concat", "x -", "y", name="c")),
                             "Concat 'c': its input 1 is left out, but is needed"),
    "Cast to nothing": (lambda: of_nodes(node("Cast", "one", "y", name="c"), one=[1]),
                        "Cast 'c': states no type of elements"),
    "long names": (lambda: of_nodes(node("Zork" * 1000, "x", "y", name="n" * 10_000)),
                   r"^.{,500}$"),
    "constant": (lambda: of_nodes(node("Constant", "", "c", name="k"), node("Add", "x c", "y")),
                 "Constant 'k': has the attributes none"),
    "no text": (lambda: block().SerializeToString().replace(b"conv.bias", b"conv\xff\xfeias"),
                ""),
}  # fmt: skip

BOMBS = {
    "ConstantOfShape": lambda: of_nodes(
        node("ConstantOfShape", "s", "c", name="bomb"), node("Add", "x c", "y"), s=[1 << 40]
    ),
    "Expand": lambda: of_nodes(
        node("Expand", "one s", "c", name="bomb"), node("Add", "x c", "y"), one=[1], s=[1 << 40]
    ),
    "Tile": lambda: of_nodes(
        node("Tile", "one s", "c", name="bomb"), node("Add", "x c", "y"), one=[1], s=[1 << 40]
    ),
    "Range": lambda: of_nodes(
        node("Range", "a s b", "c", name="bomb"), node("Add", "x c", "y"), a=0, s=1 << 40, b=1
    ),
    "Pad": lambda: of_nodes(
        node("Pad", "one s", "c", name="bomb"), node("Add", "x c", "y"), one=[1], s=[0, 1 << 40]
    ),
    "OneHot": lambda: of_nodes(
        node("OneHot", "one s v", "c", name="bomb"), node("Add", "x c", "y"), one=[1], s=1 << 40,
        v=[0, 1],
    ),
    "Resize": lambda: of_nodes(
        node("Cast", "one", "f", to=FLOAT), node("Resize", "f - s", "c", name="bomb"),
        node("Add", "x c", "y"), one=[[[[1]]]], s=np.array([1, 1, 1e6, 1e6], "f4"),
    ),
    "outer product": lambda: of_nodes(
        node("Add", "a b", "c", name="bomb"), node("Add", "x c", "y"),
        a=np.ones((1 << 18, 1), int), b=np.ones(1 << 18, int),
    ),
    "Concat": lambda: of_nodes(
        *(node("Concat", f"c{i} c{i}", f"c{i + 1}", axis=0, name="bomb") for i in range(50)),
        node("Add", "x c50", "y"), c0=[1],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_refused_with_the_reason(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "MOST_CALLS", 10_000)
    make, message = MALFORMED[name]
    made = make()
    path = tmp_path / "bad.onnx"
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    if not message:
        return
    with watched() as files, pytest.raises(OnnxError, match=message) as caught:
        tg.onnx.load(path)
    assert str(caught.value).startswith("load: bad.onnx: ")
    assert set(files) <= {str(path)}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_asks_for_a_huge_constant_is_refused_in_little_memory(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "LIMIT", 32 * MEGABYTE)
    contents = BOMBS[name]().SerializeToString()
    tracemalloc.start()
    try:
        with pytest.raises(OnnxError, match=r"'bomb': its constant result .* exceeds the limit"):
            tg.onnx.load(contents)
        assert tracemalloc.get_traced_memory()[1] < 80 * MEGABYTE
    finally:
        tracemalloc.stop()


def test_a_constant_of_a_function_is_in_memory_once() -> None:
    imports = [helper.make_opsetid("local", 1), helper.make_opsetid("", 20)]
    large = numpy_helper.from_array(np.ones(MEGABYTE // 4, "f4"))
    nodes = [
        node("Constant", "", "c", value=large),
        node("ReduceMax", "c", "m", keepdims=0),
        node("Mul", "x m", "y"),
    ]
    function = helper.make_function("local", "f", ["x"], ["y"], nodes, imports)
    calls = [node("f", f"v{i}", f"v{i + 1}", domain="local") for i in range(100)]
    proto = model(calls, {"v0": [2]}, ["v100"], functions=[function], domains={"local": 1})
    tracemalloc.start()
    try:
        loaded = tg.onnx.load(proto)
        assert tracemalloc.get_traced_memory()[1] < 10 * MEGABYTE
    finally:
        tracemalloc.stop()
    (weight,) = loaded.parameters()
    loaded(np.ones(2, "f4")).sum().backward()
    assert weight.grad is not None
    assert weight.grad.sum() == pytest.approx(200)


@pytest.mark.parametrize("path", ["n" * 300, "zero\0byte"])
def test_a_path_that_no_file_can_have_is_refused(path: str) -> None:
    with pytest.raises(OnnxError, match=r"^load: '.{,140}': cannot be read: "):
        tg.onnx.load(path)


def test_running_out_of_memory_in_a_run_names_the_node() -> None:
    sizes = value("s", [1], TensorProto.INT64)
    proto = model([node("ConstantOfShape", "s", "y", name="large")], {"s": sizes}, ["y"])
    loaded = tg.onnx.load(proto)
    loaded.largest = 1 << 60
    with pytest.raises(OnnxError, match="ConstantOfShape 'large': out of memory"):
        loaded(np.array([1 << 50]))


# --- data files ----------------------------------------------------------------------------------


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """Return a model with its weights in a file of its folder, and a secret outside of it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(10_000))
    save_with_data(block(), folder / "m.onnx")
    return folder / "m.onnx"


def relocated(path: Path, **entries: str) -> Path:
    """Change the place of all data."""
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            entry.value = entries.get(entry.key, entry.value)
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("../secret.bin", "expected a path inside the folder"),
        ("sub/../../secret.bin", "expected a path inside the folder"),
        ("..\\secret.bin", "expected a path inside the folder"),
        ("/etc/passwd", "expected a path inside the folder"),
        ("C:\\secret.bin", "expected a path inside the folder"),
        ("\\\\host\\secret.bin", "expected a path inside the folder"),
        ("", "expected a path inside the folder"),
        ("a\0b", "expected a path inside the folder"),
        ("link.bin", "a link to outside the folder"),
        ("linked/secret.bin", "a link to outside the folder"),
        ("gone.bin", "there is no such file"),
        (".", "there is no such file"),
        ("pipe", "there is no such file"),
        ("a" * 5000, "which is not a path|there is no such file"),
    ],
)
def test_no_file_outside_the_folder_is_read(beside: Path, location: str, message: str) -> None:
    folder = beside.parent
    (folder / "link.bin").symlink_to(folder.parent / "secret.bin")
    (folder / "linked").symlink_to(folder.parent, target_is_directory=True)
    os.mkfifo(folder / "pipe")
    relocated(beside, location=location)
    with watched() as files, pytest.raises(OnnxError, match=message) as caught:
        tg.onnx.load(beside)
    assert set(files) == {str(beside)}
    assert re.match(r"load: m\.onnx: initializer '[\w.]+': its values are in ", str(caught.value))


def test_a_link_inside_the_folder_is_followed(beside: Path) -> None:
    (beside.parent / "other.bin").symlink_to(beside.parent / "weights.bin")
    tg.onnx.load(relocated(beside, location="other.bin"))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": "100000"}, r"its bytes 100000 to \d+ are after the end of weights.bin"),
        ({"offset": str(1 << 62)}, "are after the end"),
        ({"offset": "-8"}, "offset is '-8', expected a whole number"),
        ({"offset": "x"}, "offset is 'x', expected a whole number"),
        ({"offset": "٣"}, "expected a whole number"),
        ({"length": "9" * 5000}, "length is '999.*', expected a whole number"),
        ({"length": "4"}, r"has 4 bytes in weights.bin, expected \d+"),
    ],
)
def test_places_in_a_data_file_are_checked(beside: Path, entries: Any, message: str) -> None:
    with pytest.raises(OnnxError, match=message):
        tg.onnx.load(relocated(beside, **entries))


def test_tensors_that_share_a_data_file_cannot_fill_the_memory(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(MEGABYTE))
    proto = model([node("Relu", "x", "y")], {"x": [2]}, ["y"])
    for i in range(10_000):
        tensor = proto.graph.initializer.add(name=f"w{i}", data_type=FLOAT, dims=[MEGABYTE // 4])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="data.bin")
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    tracemalloc.start()
    try:
        with pytest.raises(OnnxError, match=r"have more bytes than data\.bin has"):
            tg.onnx.load(tmp_path / "m.onnx")
        assert tracemalloc.get_traced_memory()[1] < 64 * MEGABYTE
    finally:
        tracemalloc.stop()


def test_bytes_of_bools_are_bools_also_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(bytes([0, 2]))
    proto = model([node("Relu", "x", "y")], {"x": [2]}, ["mask"])
    tensor = proto.graph.initializer.add(name="mask", data_type=TensorProto.BOOL, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="data.bin")
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    mask = tg.onnx.load(tmp_path / "m.onnx")(np.zeros(2, np.float32))
    assert mask.view(np.uint8).tolist() == [0, 1]


def test_data_files_need_a_path(beside: Path) -> None:
    with pytest.raises(OnnxError, match="load the file by its path"):
        tg.onnx.load(beside.read_bytes())
