"""Functions by name: read from the text "module:function", sent to other processes, and told apart
in checkpoints."""

import functools
import hashlib
import importlib
import inspect
import os
import pickle
import sys
import types
from collections.abc import Callable

from rlvr_helpers.engine.error_notes import place_of

EXAMPLE = "my_task:score, for the function score in the file my_task.py of this folder"


def load_by_name(name: str, what: str = "function") -> Callable:
    """The function of a text such as "my_task:score". Modules of the working folder are found too.

    what: what is asked for, for errors. Raises ValueError if there is no such function.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name or module_name.startswith("."):
        raise ValueError(f"the {what} {name!r} must be written as module:function ({EXAMPLE})")
    # A command line does not look into the working folder by itself.
    if (here := os.getcwd()) not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        # A method of a class has a longer name, with points.
        found = importlib.import_module(module_name)
        for part in function_name.split("."):
            found = getattr(found, part)
    # A file of your own can do anything while it is imported, even end the program.
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        where = ", ".join([f"{kind}{error}", *place_of(error)])
        raise ValueError(f"there is no {what} {name!r} ({where}): give {EXAMPLE}") from error
    if not callable(found):
        raise ValueError(
            f"the {what} {name!r} is no function, but {type(found).__name__}: give {EXAMPLE}"
        )
    return found


def as_function(function: Callable | str, what: str) -> Callable:
    """The function itself, or the one of such a name."""
    return load_by_name(function, what) if isinstance(function, str) else function


def name_to_import(function: Callable | str) -> str:
    """A function as the text "module:function"."""
    if isinstance(function, str):
        return function
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def check_importable(function: object, what: str) -> None:
    """Raises ValueError if another process cannot import a function by its name: a lambda, an inner
    function, or one that was written in a notebook."""
    main = sys.modules.get("__main__")
    module = getattr(function, "__module__", None) or type(function).__module__
    # A worker imports the functions that it is sent. A notebook cannot be imported.
    if module == "__main__" and not hasattr(main, "__file__"):
        why = "it was written in a notebook"
    else:
        # What can be pickled by its name can be imported by another process.
        try:
            pickle.dumps(function)
            return
        except Exception as error:
            why = str(error)
    raise ValueError(
        f"several workers import the {what} by its name, and {name_of(function)!r} has none"
        f" ({why}): put it into a module as a function, or take one worker (workers=1, on the"
        " command line --workers 1)"
    )


def name_of(value: object) -> str:
    """What identifies a reward function, or another that a run is made of, as text.

    A function of this package goes by its name. Any other goes by its name and a digest of what it
    does: byte code, constants, defaults, and what its closure, partial or object holds. It does not
    see the functions and global values that it uses. A function under `functools.wraps` goes by the
    one that it wraps.
    """
    # Through wrappers and partials to the function that does the work.
    value = inspect.unwrap(value)
    inner = value
    while isinstance(inner, functools.partial):
        inner = inner.func
    named = inner if hasattr(inner, "__qualname__") else type(inner)
    name = f"{named.__module__}.{named.__qualname__}"
    content = _content(value)
    return name if content == name else f"{name} ({digest(content)})"


def _content(value: object, outer: tuple = ()) -> object:
    """Nested tuples that are equal for values that do the same."""
    inside = (*outer, value)
    # A function that calls itself.
    if any(value is one for one in outer):
        return "itself"
    if isinstance(value, functools.partial):
        return "partial", *(
            _content(part, inside) for part in (value.func, value.args, value.keywords)
        )
    if isinstance(value, types.MethodType):
        return _content(value.__func__, inside), _content(vars(value.__self__), inside)
    # A function: what it does and what it holds, without its docstring.
    if isinstance(value, types.FunctionType):
        name = f"{value.__module__}.{value.__qualname__}"
        if name.startswith("rlvr_helpers.") and "<" not in name:
            return name
        held = [cell.cell_contents for cell in value.__closure__ or ()]
        texts = [constant for constant in value.__code__.co_consts if constant != value.__doc__]
        parts = (
            value.__code__.co_code,
            value.__code__.co_names,
            texts,
            value.__defaults__,
            value.__kwdefaults__,
            held,
        )
        return name, *(_content(part, inside) for part in parts)
    if isinstance(value, types.CodeType):
        return value.co_code, value.co_names, _content(value.co_consts, inside)
    # Containers, in an order of their own.
    if isinstance(value, (tuple, list)):
        return type(value).__name__, *(_content(item, inside) for item in value)
    if isinstance(value, (set, frozenset)):
        return "set", *sorted(map(repr, value))
    if isinstance(value, dict):
        return "dict", *(
            (repr(key), _content(value[key], inside)) for key in sorted(value, key=repr)
        )
    return _object(value, outer)


def _object(value: object, outer: tuple) -> object:
    """The same for what is neither a function nor a container."""
    inside = (*outer, value)
    # An array or a tensor. As text it is rounded, and a long one is cut.
    if hasattr(value, "tolist"):
        return type(value).__name__, repr(value.tolist())
    # An object with __call__.
    has_values = hasattr(value, "__dict__") and not isinstance(value, (type, types.ModuleType))
    if not outer and has_values:
        return _content(type(value).__call__, inside), _content(vars(value), inside)
    # A plain value. An address in memory differs from run to run.
    text = repr(value)
    if " at 0x" not in text:
        return text
    # An object that the function holds, with its own values but not those of others inside it.
    values = _content(vars(value), inside) if has_values and len(outer) < 4 else ()
    return type(value).__qualname__, values


def digest(content: object) -> str:
    return hashlib.sha256(repr(content).encode(errors="surrogatepass")).hexdigest()[:12]
