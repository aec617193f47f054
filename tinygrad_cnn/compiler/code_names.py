"""The names in the code of a function: variables, attributes and modules."""

from __future__ import annotations

import dis
import functools
import types

DYNAMIC = {"getattr", "setattr", "vars", "__dict__"}
"""Names by which code reaches attributes that it does not name."""


class CodeNames:
    """What code names: variables of its module, attributes, and modules that it imports.

    Attributes
    ----------
    variables, attributes, modules : set of str
    set_variables, stored : set of str
        The variables and attributes that it sets or deletes.
    """

    def __init__(self, code: types.CodeType) -> None:
        self.variables: set[str] = set()
        self.attributes: set[str] = set()
        self.modules: set[str] = set()
        self.set_variables: set[str] = set()
        self.stored: set[str] = set()
        for instruction in dis.get_instructions(code):
            name, value = instruction.opname, instruction.argval
            if name in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                self.set_variables.add(value)
            elif name in ("STORE_ATTR", "DELETE_ATTR"):
                self.stored.add(value)
            if name.endswith(("_GLOBAL", "_NAME")) and not name.startswith("IMPORT"):
                self.variables.add(value)
            elif name.endswith(("_ATTR", "_METHOD")) or name == "IMPORT_FROM":
                self.attributes.add(value)
            elif name == "IMPORT_NAME":
                self.modules.add(value)
            if value in DYNAMIC and isinstance(value, str):
                self.attributes.add(value)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                for kind, names in vars(names_of(constant)).items():
                    getattr(self, kind).update(names)


@functools.lru_cache(maxsize=1024)
def names_of(code: types.CodeType) -> CodeNames:
    """Return what code and the functions defined in it name."""
    return CodeNames(code)
