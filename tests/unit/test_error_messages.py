"""Every error that the package raises says what is wrong and what to do. The messages are read from
the source, each listed once."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "rlvr_helpers"

# A message says what to do by one of these, or by what the value must be.
WHAT_TO_DO = re.compile(
    r"""(?ix) \b(?:must | needs? | give | choose | takes? | set | move | pip\sinstall | lower | free
    | wait | correct | merge | call | make | resize | save | use | return | write | let | unset | get
    | try | rename | put | shorten | fix | load | run\sagain | restart | switch\sthat\soff
    | expected | there\sare | helps\smost | say\sso | torchrun )\b"""
)

# Not for a learner: another message of the package quotes it and says what to do, or Python itself
# asks for it (a name of a module), or a test of the GPU path failed.
INNER = """
    a ? cannot be made of ?
    it holds NaN
    it holds numbers that are not finite
    it is damaged, or no checkpoint
    it is missing
    it is no checkpoint of a run
    it does not say of which run it is
    it holds more than tensors and numbers, which could run code
    it holds no records
    it holds ? records of ? steps
    it does not say where it comes from
    its records are not those of step after step
    it has not as many cells as the ? columns
    ? is no text
    a folder
    it is a device
    not what an exercise's record holds
    its step differs from the one that was recorded
    module ? has no attribute ?
    ?: log-ratios are not finite
    the recorded graph chose other tokens than the same steps started one by one
    ?: ? is none of its choices
    ?: ? cannot be read as a guess. ?
"""
INNER = {line.strip() for line in INNER.splitlines() if line.strip()}


def text_of(node: ast.expr) -> str:
    """A message as it is written, with ? for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.IfExp):
        return f"{text_of(node.body)} / {text_of(node.orelse)}"
    # A constant of the module, or of another, that is part of the message.
    named = isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name)
    return TEXTS.get(node.value.id, "?") if named else "?"


def trees() -> dict[str, ast.Module]:
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


# Texts that stand in a variable and are put into messages by name.
TEXTS = {"OR_REMOVE": "correct it or remove it"}
TEXTS |= {
    target.id: node.value.value
    for tree in trees().values()
    for node in ast.walk(tree)
    if isinstance(node, ast.Assign)
    and isinstance(node.value, ast.Constant)
    and isinstance(node.value.value, str)
    for target in node.targets
    if isinstance(target, ast.Name)
}


def messages() -> dict[str, list[str]]:
    """Each message that is written where it is raised, and where that is."""
    found = {}
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                text = text_of(node.exc.args[-1])
                if set(text) - set("? /"):
                    found.setdefault(text, []).append(f"{file}:{node.lineno}")
    return found


MESSAGES = messages()


def test_a_message_is_read_with_what_is_filled_in():
    (call,) = [n for n in ast.walk(ast.parse('f(f"a {x!r}" f" b" "c")')) if isinstance(n, ast.Call)]
    assert text_of(call.args[0]) == "a ? bc"


@pytest.mark.parametrize("text", sorted(MESSAGES), ids=lambda text: MESSAGES[text][0])
def test_a_message_says_what_to_do(text):
    assert text in INNER or WHAT_TO_DO.search(text), f"{MESSAGES[text]}: {text}"


def test_the_inner_messages_are_still_there():
    assert set(MESSAGES) >= INNER


@pytest.mark.parametrize("text", sorted(MESSAGES), ids=lambda text: MESSAGES[text][0])
def test_a_message_is_short_and_names_no_path(text):
    assert not re.search("/(work|home)/", text)
    assert len(text) <= 600
