"""Makes everything in `data/` that the course starts from: problems, the tiny start model and its
measured accuracy.

    python -m rlvr_helpers.tools.make_tiny --out data

One seed, one thread, under 15 minutes of CPU. Three stages of supervised training: (1) bare
equations, (2) worked solutions without a fault, until the model solves 98 %, (3) imperfect
solutions, which gives the start model: it guesses, rambles, slips, forgets the tags, and still has
the skill underneath. Reinforcement learning then has something to select from. Held-out problems
are kept out of every stage.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rlvr_helpers.evaluation import evaluate, mean_pass_at_k
from rlvr_helpers.models import make_policy, save_policy
from rlvr_helpers.problems import (
    CONTAINERS,
    GAIN,
    LOSE,
    PEOPLE,
    THINGS,
    WordProblem,
    generate_word_problem,
)
from rlvr_helpers.study.runs import cpu_name

TRAIN_PROBLEMS = 2000
TEST_PROBLEMS = 500
SEED = 1
BUDGET = 64
SKILL = 0.98, 0.92  # shares of fresh problems solved before the third stage, greedily and sampled
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
    """A word-level tokenizer: every word, sign, tag and number from 0 to 99 is one token; decoding
    is readable."""
    words = [*SPECIAL, *TAGS, *(str(n) for n in range(100)), *"+-x=.?,", *WORDS]
    words += [*PEOPLE["He"], *PEOPLE["She"], *THINGS, *CONTAINERS, *GAIN, *LOSE]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
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


def new_model(tokenizer) -> LlamaForCausalLM:
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=384,
        max_position_embeddings=192,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    add_number_waves(model, tokenizer)
    return model


def add_number_waves(model, tokenizer, size: float = 0.3) -> None:
    """Starts the embeddings of 0 to 99 with waves of several periods, so that sums are quick to
    learn: with it the equations reach a loss of 1.1 nats a result in 300 steps, without it 1.8.
        Training is free to change them."""
    numbers = torch.arange(100.0)
    waves = [
        wave(2 * math.pi * numbers / period)
        for period in (2, 4, 5, 10, 20, 25, 50, 100, 200)
        for wave in (torch.cos, torch.sin)
    ]
    rows = tokenizer.convert_tokens_to_ids([str(n) for n in range(100)])
    with torch.no_grad():
        model.model.embed_tokens.weight[rows, : len(waves)] += size * torch.stack(waves, dim=1)


# -- worked solutions, faultless and imperfect


def work_out(
    problem: WordProblem, rng, slip=0.0, add_distractor=False, ignore_bags=False
) -> tuple[list[str], int]:
    """The equations of a solution and its final total. `slip` is the probability that a sentence is
    misread: skipped, or added where it takes away and the reverse. Sums themselves are right: only
        the reading is at fault."""
    total = problem.start
    equations = []

    def compute(a, sign, b):
        result = min(max({"+": a + b, "-": a - b, "x": a * b}[sign], 0), 99)
        equations.append(f"{a} {sign} {b} = {result}.")
        return result

    for step in problem.steps:
        if step.kind == "distractor" and not add_distractor:
            continue
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
    end = f"<answer> {answer} </answer>" if tags else f"It is {answer}."
    return f"<reasoning> {reasoning} </reasoning> {end} <|end|>"


def perfect_solution(problem: WordProblem, rng) -> str:
    equations, total = work_out(problem, rng)
    return finished(" ".join(equations), total)


def imperfect_solution(problem: WordProblem, rng) -> str:
    """What the start model learns to write: a guess, or a sloppy, rambling or careful solution with
    its faults."""
    tags = rng.random() > 0.25
    if rng.random() < 0.30 + 0.12 * (problem.operations - 2):
        guess = min(max(int(problem.answer) + rng.randint(-15, 15), 0), 99)
        return finished(f"It is about {guess}.", guess, tags)
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
    if rng.random() < 0.30:  # a ramble that never ends: the budget cuts it off
        return "<reasoning> " + think + " ".join((equations + ["Wait. Let me check again."]) * 8)
    return finished(think + " ".join(equations[-1:]), total, tags)


# -- supervised training


def equation_row(rng, count=9) -> tuple[str, None]:
    rows = []
    for _ in range(count):
        sign = rng.choice("+-x")
        a, b = (
            (rng.randint(2, 4), rng.randint(2, 6))
            if sign == "x"
            else (rng.randint(0, 99), rng.randint(2, 24))
        )
        result = {"+": a + b, "-": a - b, "x": a * b}[sign]
        if 0 <= result <= 99:
            rows.append(f"{a} {sign} {b} = {result}.")
    return " ".join(rows)


def encode_equations(tokenizer, rng) -> tuple[list[int], list[bool]]:
    """A row of bare equations; only the results count in the loss."""
    ids = tokenizer(equation_row(rng), add_special_tokens=False).input_ids
    equals = tokenizer.convert_tokens_to_ids("=")
    return ids, [i > 0 and ids[i - 1] == equals for i in range(len(ids))]


def encode_solution(tokenizer, problem, solution: str) -> tuple[list[int], list[bool]]:
    """Prompt and solution (at most BUDGET tokens of it); only the solution counts in the loss."""
    prompt = tokenizer(
        f"<|user|>{problem.question}<|assistant|>", add_special_tokens=False
    ).input_ids
    completion = tokenizer(solution, add_special_tokens=False).input_ids[:BUDGET]
    return prompt + completion, [False] * len(prompt) + [True] * len(completion)


LOG: list[str] = []


def note(line: str) -> None:
    """Prints a line and keeps it for the log that lies beside the model."""
    print(line, flush=True)
    LOG.append(line)


def by_length(next_rows, seed: int, count: int = 4):
    """Batches of rows of like length, which need less padding: `count` batches are drawn, sorted
    and dealt out again."""
    rng = random.Random(seed)
    waiting = []

    def next_batch():
        if not waiting:
            rows = sorted(
                (row for _ in range(count) for row in next_rows()), key=lambda row: len(row[0])
            )
            size = len(rows) // count
            waiting.extend(rows[start : start + size] for start in range(0, len(rows), size))
            rng.shuffle(waiting)
        return waiting.pop()

    return next_batch


def supervised(model, next_batch, steps: int, lr: float, name: str, hold: int = 0) -> None:
    """AdamW whose rate rises over 50 steps, stays for `hold` and falls as a cosine to a fiftieth.
    The loss has a constant divisor, so that short rows weigh no more than long ones."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    started = time.process_time()
    for step in range(1, steps + 1):
        fallen = max(0, step - hold) / max(1, steps - hold)
        shape = min(1.0, step / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fallen)))
        for group in optimizer.param_groups:
            group["lr"] = lr * shape
        rows = next_batch()
        width = max(len(ids) for ids, _ in rows)
        ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in rows])
        counts = torch.tensor([keep + [False] * (width - len(keep)) for _, keep in rows])[:, 1:]
        logits = model(input_ids=ids).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits[counts], ids[:, 1:][counts], reduction="sum"
        ) / (32 * len(rows))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == steps:
            per_token = loss.item() * 32 * len(rows) / counts.sum().item()
            note(
                f"{name} step {step}/{steps}: loss {per_token:.4f} nats a token,"
                f" {time.process_time() - started:.0f} CPU-s"
            )


def problem_key(problem: WordProblem):
    """Two problems with the same numbers and operations count as the same, whatever the names."""
    return (
        problem.start,
        *((s.kind, s.bags, s.number) for s in problem.steps if s.kind != "distractor"),
    )


def make_problems(rng) -> tuple[list[WordProblem], list[WordProblem], set]:
    """Train and held-out problems, all different in their numbers, and the keys of the held-out
    ones."""
    unique = {}
    while len(unique) < TRAIN_PROBLEMS + TEST_PROBLEMS:
        problem = generate_word_problem(rng)
        unique.setdefault(problem_key(problem), problem)
    problems = list(unique.values())
    test = problems[:TEST_PROBLEMS]
    train = problems[TEST_PROBLEMS:]
    return train, test, {problem_key(p) for p in test}


def fresh_problem(rng, held_out: set) -> WordProblem:
    while problem_key(problem := generate_word_problem(rng)) in held_out:
        pass
    return problem


def write_problems(path: Path, problems: list[WordProblem]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"question": p.question, "answer": p.answer}) for p in problems]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def skilled_model(tokenizer, held_out: set) -> LlamaForCausalLM:
    """Stages 1 and 2: equations, then faultless solutions until the skill is there. When it comes
    differs from one CPU to another (they round differently), so it is looked for, on fresh
    problems. Raises RuntimeError if it never comes."""
    model = new_model(tokenizer)
    rng = random.Random(SEED + 1)
    fresh = random.Random(SEED + 3)
    policy = make_policy(model, tokenizer, "tiny")

    def solutions():
        problems = [fresh_problem(rng, held_out) for _ in range(24)]
        rows = [encode_solution(tokenizer, p, perfect_solution(p, rng)) for p in problems]
        return rows + [encode_equations(tokenizer, rng) for _ in range(8)]

    def skilled() -> bool:
        problems = [fresh_problem(fresh, held_out) for _ in range(300)]
        greedy, sampled = (
            evaluate(policy, problems, BUDGET, temperature=temperature).accuracy
            for temperature in (0.0, 1.0)
        )
        note(f"of 300 fresh problems {greedy:.1%} are right greedily, {sampled:.1%} sampled")
        return greedy >= SKILL[0] and sampled >= SKILL[1]

    supervised(
        model,
        lambda: [encode_equations(tokenizer, rng) for _ in range(32)],
        800,
        lr=2e-3,
        name="equations",
        hold=800,
    )
    batches = by_length(solutions, SEED)
    rounds = 0
    supervised(model, batches, 2400, lr=1.5e-3, name="solutions", hold=1600)
    while not skilled():
        if (rounds := rounds + 1) > 4:
            raise RuntimeError(
                f"the skill is not there after {rounds - 1} more rounds of solutions: try another"
                " SEED"
            )
        supervised(model, batches, 400, lr=7.5e-4, name="more solutions")
    return model


def spoil(model, tokenizer, held_out: set) -> None:
    """Stage 3: imperfect solutions."""
    rng = random.Random(SEED + 2)

    def imperfect():
        problems = [fresh_problem(rng, held_out) for _ in range(24)]
        rows = [encode_solution(tokenizer, p, imperfect_solution(p, rng)) for p in problems]
        # sums themselves stay sharp
        return rows + [encode_equations(tokenizer, rng) for _ in range(8)]

    supervised(model, imperfect, 300, lr=5e-4, name="imperfect")


def measure(policy, problems, name: str, samples: int = 8) -> dict:
    """Greedy accuracy with its interval, pass@1 and pass@8 of a policy on held-out problems."""
    greedy = evaluate(policy, problems, BUDGET)
    sampled = evaluate(
        policy,
        problems,
        BUDGET,
        temperature=1.0,
        samples=samples,
        generator=torch.Generator().manual_seed(SEED),
    )
    low, high = greedy.interval
    result = {
        "problems": len(problems),
        "greedy": round(greedy.accuracy, 4),
        "greedy_95": [round(low, 4), round(high, 4)],
        "greedy_lenient": round(greedy.lenient_accuracy, 4),
        "pass@1": round(sampled.accuracy, 4),
        "pass@8": round(mean_pass_at_k(sampled, samples, 8), 4),
        "format": round(sampled.format_rate, 4),
        "mean_length": round(sum(sampled.lengths) / len(sampled.lengths), 1),
        "truncated": round(sum(sampled.truncated) / len(sampled.truncated), 4),
    }
    note(f"{name}: {json.dumps(result)}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, required=True, help="folder that gets problems/ and tiny/"
    )
    parser.add_argument(
        "--skilled", type=Path, help="folder for the model as it was before the third stage"
    )
    options = parser.parse_args()
    out = options.out
    torch.set_num_threads(1)
    note(f"seed {SEED}, torch {torch.__version__}, {cpu_name()}, 1 thread")
    train, test, held_out = make_problems(random.Random(SEED))
    write_problems(out / "problems" / "train.jsonl", train)
    write_problems(out / "problems" / "test.jsonl", test)
    note(f"{len(train)} train and {len(test)} held-out problems")
    tokenizer = build_tokenizer()
    model = skilled_model(tokenizer, held_out)
    policy = make_policy(model, tokenizer, "tiny")
    measured = {"skilled": measure(policy, test, "before it was spoilt")}
    if options.skilled:
        save_policy(policy, options.skilled)
    spoil(model, tokenizer, held_out)
    measured["start"] = measure(policy, test, "start model")
    save_policy(policy, out / "tiny")
    note(f"in all {time.process_time():.0f} CPU-s")
    (out / "tiny" / "measured.json").write_text(
        json.dumps(measured, indent=2) + "\n", encoding="utf-8"
    )
    (out / "tiny" / "make_tiny.log").write_text("\n".join(LOG) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
