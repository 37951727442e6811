"""What the tiny model reads and writes: its tokenizer, and worked solutions without and with
faults."""

import random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rlvr_helpers.problems import CONTAINERS, GAIN, LOSE, PEOPLE, THINGS, WordProblem

# Tokens that a reader never sees, and the words beyond those of the problems.
SPECIAL = ["<|pad|>", "<|end|>", "<unk>", "<|user|>", "<|assistant|>"]
TAGS = ["<reasoning>", "</reasoning>", "<answer>", "</answer>"]
WORDS = (
    "has He She buys of How many does have now It is about Let me think check again Wait What"
).split()
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'assistant' %}<|assistant|>{{"
    " message.content }}<|end|>{% else %}<|user|>{{ message.content }}{% endif %}{% endfor %}{% if"
    " add_generation_prompt %}<|assistant|>{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer. Every word, sign, tag and number from 0 to 99 is one token. Decoded
    text is readable."""
    # The vocabulary.
    words = [*SPECIAL, *TAGS, *(str(n) for n in range(100)), *"+-x=.?,", *WORDS]
    words += [*PEOPLE["He"], *PEOPLE["She"], *THINGS, *CONTAINERS, *GAIN, *LOSE]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    # How text is cut into words, and put together again.
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    pieces = Regex(r"</?\w+>|\d+|\p{L}+|[^\s\w]")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pieces, behavior="removed", invert=True)
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    special = {"pad_token": "<|pad|>", "eos_token": "<|end|>", "unk_token": "<unk>"}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        additional_special_tokens=SPECIAL[3:],
        padding_side="left",
        **special,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.model_max_length = 192
    return fast


# -- worked solutions, faultless and imperfect


def work_out(
    problem: WordProblem,
    rng: random.Random,
    slip: float = 0.0,
    add_distractor: bool = False,
    ignore_bags: bool = False,
) -> tuple[list[str], int]:
    """The equations of a solution and its final total.

    `slip` is the probability that a sentence is misread. It is skipped, or added instead of
    subtracted, or the reverse. The sums themselves are correct.
    """
    total = problem.start
    equations = []

    def compute(a: int, sign: str, b: int) -> int:
        result = min(max({"+": a + b, "-": a - b, "x": a * b}[sign], 0), 99)
        equations.append(f"{a} {sign} {b} = {result}.")
        return result

    for step in problem.steps:
        if step.kind == "distractor" and not add_distractor:
            continue
        # The sign, unless it is misread.
        sign = "-" if step.kind == "lose" else "+"
        if rng.random() < slip:
            if rng.random() < 0.5:
                continue
            sign = "+" if sign == "-" or total < 20 else "-"
        number = step.number
        if step.kind == "bags" and not ignore_bags:
            number = compute(step.bags, "x", number)
        total = compute(total, sign, number)
    return equations, total


def finished(reasoning: str, answer: int, tags: bool = True) -> str:
    """A whole completion. Without tags the answer stands in a sentence."""
    end = f"<answer> {answer} </answer>" if tags else f"It is {answer}."
    return f"<reasoning> {reasoning} </reasoning> {end} <|end|>"


def perfect_solution(problem: WordProblem, rng: random.Random) -> str:
    """A solution without a fault."""
    equations, total = work_out(problem, rng)
    return finished(" ".join(equations), total)


def imperfect_solution(problem: WordProblem, rng: random.Random) -> str:
    """What the start model learns to write: a guess, or a sloppy, rambling or careful solution with
    its faults."""
    # A guess, more often on longer problems.
    tags = rng.random() > 0.25
    if rng.random() < 0.30 + 0.12 * (problem.operations - 2):
        guess = min(max(int(problem.answer) + rng.randint(-15, 15), 0), 99)
        return finished(f"It is about {guess}.", guess, tags)
    # A solution with the faults of its style.
    style = rng.choices(["sloppy", "rambling", "careful"], [1, 1, 2])[0]
    slip = {"sloppy": 0.25, "rambling": 0.10, "careful": 0.0}[style]
    equations, total = work_out(
        problem, rng, slip, add_distractor=rng.random() < 0.45, ignore_bags=rng.random() < 0.45
    )
    if style == "careful":
        return finished(" ".join(equations), total, tags)
    if style == "sloppy":
        return finished("Let me check. " + " ".join(equations), total, tags)
    think = "Let me think. " + " ".join(equations) + " Wait. Let me check again. "
    # A ramble that never ends: the budget cuts it off.
    if rng.random() < 0.30:
        return "<reasoning> " + think + " ".join((equations + ["Wait. Let me check again."]) * 8)
    return finished(think + " ".join(equations[-1:]), total, tags)
