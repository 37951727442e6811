"""Packages with a face: a name is imported from its module when it is first used (PEP 562)."""

import importlib
from collections.abc import Callable


def face(package: str, homes: dict[str, str]) -> tuple[Callable[[str], object], list[str]]:
    """A package's `__getattr__` and `__all__`.

    homes: a module of the package -> the names that it gives, separated by spaces
    """
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def find(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{home_of[name]}"), name)

    return find, sorted(home_of)
