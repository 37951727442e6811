"""The box in which readers try policies: it answers, names what it cannot read, and shows its
errors."""

import pytest

from rlvr_helpers.kit.problem_box import ProblemBox
from rlvr_helpers.models import load_policy


@pytest.fixture(scope="module")
def box():
    return ProblemBox(
        {"start": load_policy("tiny")}, "Ida has 3 shells. She buys 4. How many shells has Ida now?"
    )


def type_in(box, question):
    box.text.value = question
    box.button.click()
    return box.out.value


def test_it_answers_and_names_words_that_it_cannot_read(box):
    assert box.out.value.startswith("<b>start</b>: ") and "no answer" not in box.out.value
    assert "(cannot read: zebras)" in type_in(
        box, "Ida has 3 zebras. She buys 4. How many has Ida now?"
    )
    assert type_in(box, "  ") == "Type a problem first."


@pytest.mark.parametrize("question", ["shells " * 400, "\ud800"])
def test_a_question_that_no_policy_can_take_shows_its_error(box, question):
    before = type_in(box, "Ida has 3 shells. She buys 4. How many shells has Ida now?")
    said = type_in(box, question)
    assert said != before and said.startswith("<b>start</b>: <i>no answer: ")
    assert "no answer" not in type_in(
        box, "Tom has 7 coins. He buys 2. How many coins does Tom have now?"
    )


@pytest.mark.parametrize(
    "error", [MemoryError(), FloatingPointError("<nan>"), RuntimeError("CUDA out of memory")]
)
def test_any_error_is_shown_and_escaped(box, error):
    def fails(*_):
        raise error

    failing = ProblemBox(box.policies, "Tom has 2 coins.", reply=fails)
    said = type_in(failing, "Tom has 2 coins. He buys 2. How many coins does Tom have now?")
    assert ("MemoryError" if not str(error) else str(error).replace("<nan>", "&lt;nan&gt;")) in said
