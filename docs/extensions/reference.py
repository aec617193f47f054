"""The reference of all public names, generated from declarations and docstrings at build time.

A page for each public package, one for each family of ops, and one for the command line are
written to docs/api/, which Git ignores. docs/api.md, the list of all names, links to them.
"""

from __future__ import annotations

import inspect
import re
import shutil
import sys
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from support import api_page
from typer.core import TyperGroup
from typer.main import get_command

import tinygrad_cnn as tg
from tinygrad_cnn.cli import app
from tinygrad_cnn.core.composition import COMPOSITIONS
from tinygrad_cnn.core.op import OPS
from tinygrad_cnn.ops.__main__ import facts, families

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

OPS_PACKAGE = "tinygrad_cnn.ops."
OTHER = "Constants and types"
NAME = re.compile(r"(?<![`:])`(tinygrad_cnn(?:\.\w+)+)`(?!`)")
ABSOLUTE = re.compile(r"\|(\w+)\|")  # |x| is a substitution in reStructuredText
ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
CALL = re.compile(r"^\| `(\w+)(\([^`]*\))` \|", re.MULTILINE)


def pages() -> dict[str, str]:
    """Return the pages of packages and ops as reStructuredText, by document name."""
    found: dict[str, str] = {}
    shown: dict[int, str] = {}
    for family in families():
        public = [n for n in tg.ops.__all__ if getattr(tg, n).__module__ == family]
        name = family.removeprefix(OPS_PACKAGE)
        text = _title(name) + (inspect.getdoc(sys.modules[family]) or "") + "\n\n"
        found[f"api/ops/{name}"] = text + _entries(tg, public, shown)
    for package in map(import_module, api_page.PACKAGES):
        names = [n for n in package.__all__ if package is not tg or n not in tg.ops.__all__]
        text = _title(package.__name__) + f".. automodule:: {package.__name__}\n\n"
        modules = [n for n in names if isinstance(getattr(package, n), ModuleType)]
        listed = [f"{package.__name__}.{n}" for n in modules]
        if package is tg:
            text += f"Packages: {', '.join(f':py:mod:`{name}`' for name in listed)}. The functions "
            text += "that compute are the :doc:`ops </ops>`.\n\n"
        for name in {*listed} - {*api_page.PACKAGES}:
            text += f".. automodule:: {name}\n\n"
        sections: dict[str, list[str]] = {}
        for name in names:
            if name not in modules:
                sections.setdefault(_section(getattr(package, name)), []).append(name)
        if len(sections) > 1 and OTHER in sections:
            sections[OTHER] = sections.pop(OTHER)  # last
        for title, members in sections.items():
            if len(sections) > 1:
                text += _title(title, "-")
            text += _entries(package, members, shown)
        found[f"api/{package.__name__}"] = text
    return found | {"api/command-line": commands()}


def commands() -> str:
    """Return the page of the command line: each command with its arguments and options."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    text = _title("The command line") + f"{_plain(group.help)}\n\n{_plain(group.epilog)}\n\n"
    for name, command in group.commands.items():
        context = group.context_class(command, info_name=f"tinygrad-cnn {name}")
        usage = " ".join([f"tinygrad-cnn {name}", *command.collect_usage_pieces(context)])
        text += _title(name, "-") + f"{_plain(command.help)}\n\n.. code-block:: text\n\n"
        text += f"   {usage}\n\n"
        for parameter in command.get_params(context):
            written, said = parameter.get_help_record(context) or ("", "")
            if written:
                text += f"``{written}``\n   {_plain(said)}\n\n"
        text += f"{_plain(command.epilog)}\n\n"
    return text


def _plain(text: str | None) -> str:
    """Return a help text without rich's markup, safe in reStructuredText."""
    return re.sub(r"([*|`\\])", r"\\\1", re.sub(r"\[/?bold\]", "", text or ""))


def _section(value: Any) -> str:
    """Return the heading for an object: the first sentence of its module, short."""
    module = sys.modules.get(getattr(value, "__module__", ""))
    if module is None or not module.__name__.startswith("tinygrad_cnn"):
        return OTHER
    first = api_page.first_paragraph(module.__doc__)
    return re.split(r"[.:;,(]", first)[0].replace("`", "")


def _entries(package: ModuleType, names: Iterable[str], shown: dict[int, str]) -> str:
    """Return the entries of names; a name of an object that `shown` has refers to that entry."""
    parts: list[str] = []
    for name in names:
        value, full = getattr(package, name), f"{package.__name__}.{name}"
        earlier = shown.setdefault(id(value), full)
        if earlier != full:
            kind = "class" if isinstance(value, type) else "function"
            parts.append(_entry(kind, package, name, f"The same as :py:obj:`{earlier}`."))
        elif isinstance(value, type):
            kind = "exception" if issubclass(value, BaseException) else "class"
            parts.append(f".. auto{kind}:: {full}\n   :members:\n\n")
        elif callable(value) and hasattr(value, "__module__"):
            parts.append(f".. autofunction:: {full}\n\n")
        else:
            parts.append(_entry("data", package, name, api_page.sentence(package, name)))
    return "".join(parts)


def _entry(kind: str, package: ModuleType, name: str, text: str) -> str:
    return f".. py:{kind}:: {name}\n   :module: {package.__name__}\n\n   {text}\n\n"


def _title(text: str, mark: str = "=") -> str:
    return f"{text}\n{mark * len(text)}\n\n"


def write(sphinx: Sphinx) -> None:
    """Write the pages, before Sphinx looks for them."""
    folder = Path(sphinx.srcdir, "api")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "ops").mkdir(parents=True)
    for docname, text in pages().items():
        Path(sphinx.srcdir, f"{docname}.rst").write_text(text, "utf-8")


def link_names(sphinx: Sphinx, docname: str, source: list[str]) -> None:
    """Link each name in the lists of names and of ops to its entry; GitHub has no such links."""
    if docname == "ops":
        source[0] = CALL.sub(r"| {py:obj}`\1\2 <tinygrad_cnn.\1>` |", source[0])
    if docname == "api":
        package, parts = "", re.split(r"^## (\S+)$", source[0], flags=re.MULTILINE)
        for i, part in enumerate(parts):
            if i % 2:
                package = part
                parts[i] = f"## {part}"
            else:
                parts[i] = ROW.sub(rf"| {{py:obj}}`\1 <{package}.\1>` |", part)
        source[0] = "".join(parts)


def add_formulas(
    sphinx: Sphinx, kind: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Add to the docstring of an op what it declares: formula, derivatives and equations."""
    short = name.removeprefix("tinygrad_cnn.")
    member = OPS.get(short) if value is OPS.get(short) else COMPOSITIONS.get(short)
    if kind == "function" and member is not None:
        rows = ["", ".. list-table::", "   :class: formulas", ""]
        for what, formula in facts(member):
            label = f"derivative {what}" if what.startswith("for ") else "computes"
            rows += [f"   * - {label}", f"     - ``{formula}``"]
            if what in ("by its ops", "none"):
                rows += ["   * - derivative", f"     - {what}"]
        end = next((i for i, line in enumerate(lines) if not line.strip()), len(lines))
        lines[end:end] = [*rows, ""]
    lines[:] = [NAME.sub(_linked, ABSOLUTE.sub(r"\|\1\|", line)) for line in lines]


@cache
def public_names() -> frozenset[str]:
    """Return the full names that have an entry, and the packages that have a page."""
    packages = {name: import_module(name).__all__ for name in api_page.PACKAGES}
    names = {f"{package}.{name}" for package, members in packages.items() for name in members}
    return frozenset(names | {*packages})


def _linked(match: re.Match[str]) -> str:
    """Return the link to a name or to a method of it; other names stay code."""
    known = {match[1], match[1].rpartition(".")[0]} & (public_names() - {*api_page.PACKAGES})
    return f":py:obj:`{match[1]}`" if known or match[1] in public_names() else match[0]


def drop_missing_sources(sphinx: Sphinx) -> list[Any]:
    """Keep the list of sources from linking to those for which viewcode makes no page."""
    modules: dict[str, Any] = vars(sphinx.env).get("_viewcode_modules", {})
    for name in [name for name, found in modules.items() if not found]:
        del modules[name]
    return []


def setup(sphinx: Sphinx) -> ExtensionMetadata:
    """Connect the steps with the events of a build."""
    sphinx.connect("builder-inited", write)
    sphinx.connect("source-read", link_names)
    sphinx.connect(
        "autodoc-process-docstring", add_formulas, priority=400
    )  # before numpydoc, at 500
    sphinx.connect("html-collect-pages", drop_missing_sources, priority=100)  # before viewcode
    return {"parallel_read_safe": True, "parallel_write_safe": True}
