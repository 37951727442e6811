"""`policy.json` beside a saved model: how the policy is prompted and trained."""

import json
from pathlib import Path

# The fields of a policy that it keeps.
PROMPT = ("problems", "system_prompt", "examples", "chat", "end_ids", "like", "settings")
# Fields that older files lack.
BEFORE = {"like": None, "settings": {}}
OR_REMOVE = "correct it or remove it"

# Whether a value fits its field. "like" is checked against the names of the known policies.
KEPT = {
    "problems": lambda value: isinstance(value, str),
    "system_prompt": lambda value: value is None or isinstance(value, str),
    "examples": lambda value: isinstance(value, list) and all(is_pair(pair) for pair in value),
    "chat": lambda value: isinstance(value, bool),
    "end_ids": lambda value: isinstance(value, list) and value and all(is_id(i) for i in value),
    "settings": lambda value: isinstance(value, dict),
}


def is_id(value: object) -> bool:
    """Whether this can be a token's number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_pair(value: object) -> bool:
    """Whether this is a question and its answer."""
    texts = isinstance(value, list) and all(isinstance(text, str) for text in value)
    return texts and len(value) == 2


def read_policy_json(folder: Path, likes: tuple[str, ...]) -> dict | None:
    """The fields of PROMPT from a folder's `policy.json`. None if there is no such file.

    likes: the values that the field "like" can have beside None

    Raises ValueError on a file that cannot be read or holds something else.
    """
    file = folder / "policy.json"
    if not file.exists():
        return None
    where = f"policy.json in {file.resolve().parent.name!r}"
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{where} cannot be read ({str(error)[:80]}): {OR_REMOVE}") from error
    # Each field must be there and fit.
    found = kept if isinstance(kept, dict) else {}
    kept = {name: found.get(name, BEFORE.get(name)) for name in PROMPT}
    fits = KEPT | {"like": lambda value: value is None or value in likes}
    incorrect = [name for name in PROMPT if not fits[name](kept[name])]
    if incorrect:
        raise ValueError(
            f"{where} cannot be read ({', '.join(incorrect)} missing or wrong): {OR_REMOVE}"
        )
    examples = tuple((asked, answered) for asked, answered in kept["examples"])
    return kept | {"examples": examples, "end_ids": tuple(kept["end_ids"])}
