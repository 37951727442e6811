"""A text box in which a reader tries trained policies on problems of their own."""

import html
import re
from collections.abc import Callable

import ipywidgets
from IPython.display import display

from rlvr_helpers.models import Policy, unknown_words
from rlvr_helpers.sampling import answer
from rlvr_helpers.widgets.explorer import answers_at_once


class ProblemBox:
    """What several policies answer to a problem that the reader types. policies: display name ->
    Policy. reply(policy, question): how one of them is asked."""

    def __init__(
        self,
        policies: dict[str, Policy],
        question: str,
        reply: Callable[[Policy, str], str] = answer,
    ) -> None:
        self.policies = policies
        self.reply = reply
        self.text = ipywidgets.Textarea(question, layout={"width": "620px", "height": "56px"})
        # Not at every key: only a finished text is sent to the kernel.
        self.text.continuous_update = False
        self.button = ipywidgets.Button(description="Answer", button_style="primary")
        self.button.on_click(self.answer)
        self.out = ipywidgets.HTML()
        answers_at_once(self.text, self.button)
        self.answer()

    def answer(self, _: object = None) -> None:
        """Fills in what each policy answers."""
        question = self.text.value.strip()
        if not question:
            self.out.value = "Type a problem first."
            return
        lines = [
            f"<b>{html.escape(name)}</b>: {_answer(policy, question, self.reply)}"
            for name, policy in self.policies.items()
        ]
        self.out.value = "<br>".join(lines)

    def show(self) -> None:
        """Shows the box. Without a kernel the problem and its answers stand there as text."""
        box = ipywidgets.VBox([self.text, self.button, self.out])
        # What a saved notebook shows, as HTML and without any tags.
        still = f"<p>{html.escape(self.text.value)}</p><p>{self.out.value}</p>"
        plain = html.unescape(
            re.sub(r"<[^>]+>", "", still.replace("<br>", "\n").replace("</p>", "\n"))
        )
        display({**box._repr_mimebundle_(), "text/html": still, "text/plain": plain}, raw=True)


def _answer(policy: Policy, question: str, reply: Callable[[Policy, str], str]) -> str:
    """As HTML: the answer and the words that the policy cannot read, or why there is none."""
    try:
        unknown = unknown_words(policy, question)
        note = f" <i>(cannot read: {html.escape(', '.join(unknown))})</i>" if unknown else ""
        return html.escape(reply(policy, question)).replace("\n", "<br>") + note
    # ipywidgets swallows what a callback raises, so the reason is shown in the box.
    except Exception as error:
        return f"<i>no answer: {html.escape(str(error) or type(error).__name__)}</i>"
