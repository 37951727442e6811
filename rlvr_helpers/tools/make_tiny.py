"""Makes everything in `data/` that the course starts from: problems, the tiny start model and its
measured accuracy.

    python -m rlvr_helpers.tools.make_tiny --out data

One seed, one thread, under 15 minutes of CPU. There are three stages of supervised training: (1)
bare equations, (2) worked solutions without a fault, until the model solves 98 %, (3) imperfect
solutions. The result is the start model. It guesses, rambles, slips and forgets the tags, and still
has the skill underneath. So reinforcement learning has something to select from. Held-out problems
are kept out of every stage.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rlvr_helpers.evaluation import evaluate, mean_pass_at_k
from rlvr_helpers.models import Policy, make_policy, save_policy
from rlvr_helpers.problems import WordProblem, generate_word_problem
from rlvr_helpers.study.runs import cpu_name
from rlvr_helpers.tools.tiny_texts import build_tokenizer, imperfect_solution, perfect_solution

TRAIN_PROBLEMS = 2000
TEST_PROBLEMS = 500
SEED = 1
BUDGET = 64
# Shares of fresh problems solved before the third stage, greedily and sampled.
SKILL = 0.98, 0.92

# Token ids, and for each whether it counts in the loss.
Row = tuple[list[int], list[bool]]


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int = SEED) -> LlamaForCausalLM:
    """A fresh model whose embeddings of numbers begin with waves."""
    torch.manual_seed(seed)
    # Small enough to train on a laptop, large enough to add.
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


def add_number_waves(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, size: float = 0.3
) -> None:
    """Starts the embeddings of 0 to 99 with waves of several periods, so that sums are quick to
    learn.

    With them the equations reach a loss of 1.1 nats per result in 300 steps, without them 1.8.
    Training can change them.
    """
    numbers = torch.arange(100.0)
    waves = [
        wave(2 * math.pi * numbers / period)
        for period in (2, 4, 5, 10, 20, 25, 50, 100, 200)
        for wave in (torch.cos, torch.sin)
    ]
    rows = tokenizer.convert_tokens_to_ids([str(n) for n in range(100)])
    with torch.no_grad():
        model.model.embed_tokens.weight[rows, : len(waves)] += size * torch.stack(waves, dim=1)


def equation_row(rng: random.Random, count: int = 9) -> str:
    """Bare equations with results from 0 to 99."""
    rows = []
    for _ in range(count):
        sign = rng.choice("+-x")
        # Products as in bags, sums and differences as in a running total.
        a, b = (
            (rng.randint(2, 4), rng.randint(2, 6))
            if sign == "x"
            else (rng.randint(0, 99), rng.randint(2, 24))
        )
        result = {"+": a + b, "-": a - b, "x": a * b}[sign]
        if 0 <= result <= 99:
            rows.append(f"{a} {sign} {b} = {result}.")
    return " ".join(rows)


def encode_equations(tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> Row:
    """A row of bare equations. Only the results count in the loss."""
    ids = tokenizer(equation_row(rng), add_special_tokens=False).input_ids
    # A result is the token after an equals sign.
    equals = tokenizer.convert_tokens_to_ids("=")
    return ids, [i > 0 and ids[i - 1] == equals for i in range(len(ids))]


def encode_solution(tokenizer: PreTrainedTokenizerFast, problem: WordProblem, solution: str) -> Row:
    """Prompt and solution, of which at most BUDGET tokens. Only the solution counts in the loss."""
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


def by_length(
    next_rows: Callable[[], list[Row]], seed: int, count: int = 4
) -> Callable[[], list[Row]]:
    """Batches of rows with similar lengths, which need less padding. `count` batches are drawn,
    sorted and dealt out again."""
    rng = random.Random(seed)
    waiting = []

    def next_batch() -> list[Row]:
        if not waiting:
            # Sorted by length, cut into batches, and these in random order.
            rows = sorted(
                (row for _ in range(count) for row in next_rows()), key=lambda row: len(row[0])
            )
            size = len(rows) // count
            waiting.extend(rows[start : start + size] for start in range(0, len(rows), size))
            rng.shuffle(waiting)
        return waiting.pop()

    return next_batch


def supervised(
    model: LlamaForCausalLM,
    next_batch: Callable[[], list[Row]],
    steps: int,
    lr: float,
    name: str,
    hold: int = 0,
) -> None:
    """AdamW whose rate rises over 50 steps, stays for `hold` and falls as a cosine to a fiftieth.
    The loss has a constant divisor, so that short rows weigh no more than long ones."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    started = time.process_time()
    for step in range(1, steps + 1):
        # The learning rate of this step.
        fallen = max(0, step - hold) / max(1, steps - hold)
        shape = min(1.0, step / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fallen)))
        for group in optimizer.param_groups:
            group["lr"] = lr * shape
        # A rectangle of the rows.
        rows = next_batch()
        width = max(len(ids) for ids, _ in rows)
        ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in rows])
        counts = torch.tensor([keep + [False] * (width - len(keep)) for _, keep in rows])[:, 1:]
        # The loss, with its constant divisor, and the update.
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


def problem_key(problem: WordProblem) -> tuple:
    """Problems with the same numbers and operations have the same key, whatever the names."""
    return (
        problem.start,
        *((s.kind, s.bags, s.number) for s in problem.steps if s.kind != "distractor"),
    )


def make_problems(rng: random.Random) -> tuple[list[WordProblem], list[WordProblem], set]:
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


def fresh_problem(rng: random.Random, held_out: set) -> WordProblem:
    """A problem that is not among the held-out ones."""
    while problem_key(problem := generate_word_problem(rng)) in held_out:
        pass
    return problem


def write_problems(path: Path, problems: list[WordProblem]) -> None:
    """Writes questions and answers, one JSON object per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"question": p.question, "answer": p.answer}) for p in problems]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def skilled_model(
    tokenizer: PreTrainedTokenizerFast, held_out: set, seed: int = SEED
) -> LlamaForCausalLM:
    """Stages 1 and 2: equations, then solutions without a fault until the skill is there.

    CPUs round differently, so it comes after a different number of steps on each. It is measured on
    fresh problems. Raises RuntimeError if it never comes.
    """
    model = new_model(tokenizer, seed)
    rng = random.Random(seed + 1)
    fresh = random.Random(seed + 3)
    policy = make_policy(model, tokenizer, "tiny")

    def solutions() -> list[Row]:
        # Three quarters solutions, one quarter bare equations.
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
    batches = by_length(solutions, seed)
    # Solutions until the skill is there.
    rounds = 0
    supervised(model, batches, 2400, lr=1.5e-3, name="solutions", hold=1600)
    while not skilled():
        if (rounds := rounds + 1) > 4:
            raise RuntimeError(
                f"the skill is not there after {rounds - 1} more rounds of solutions: try another"
                " --seed"
            )
        supervised(model, batches, 400, lr=7.5e-4, name="more solutions")
    return model


def spoil(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, held_out: set, seed: int = SEED
) -> None:
    """Stage 3: imperfect solutions."""
    rng = random.Random(seed + 2)

    def imperfect() -> list[Row]:
        problems = [fresh_problem(rng, held_out) for _ in range(24)]
        rows = [encode_solution(tokenizer, p, imperfect_solution(p, rng)) for p in problems]
        # The sums themselves should stay correct.
        return rows + [encode_equations(tokenizer, rng) for _ in range(8)]

    supervised(model, imperfect, 300, lr=5e-4, name="imperfect")


def measure_accuracy(
    policy: Policy, problems: list[WordProblem], name: str, samples: int = 8
) -> dict:
    """Greedy accuracy with its interval, pass@1 and pass@8 of a policy on held-out problems."""
    # One greedy answer, and several sampled ones.
    greedy = evaluate(policy, problems, BUDGET)
    sampled = evaluate(
        policy,
        problems,
        BUDGET,
        temperature=1.0,
        samples=samples,
        generator=torch.Generator().manual_seed(SEED),
    )
    # As it is kept beside the model.
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
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, required=True, help="folder that gets problems/ and tiny/"
    )
    parser.add_argument(
        "--skilled", type=Path, help="folder for the model as it was before the third stage"
    )
    parser.add_argument(
        "--seed", type=int, default=SEED, help="of the model. The problems stay the same"
    )
    options = parser.parse_args()
    out = options.out
    torch.set_num_threads(1)
    note(f"seed {options.seed}, torch {torch.__version__}, {cpu_name()}, 1 thread")
    # Problems.
    train, test, held_out = make_problems(random.Random(SEED))
    write_problems(out / "problems" / "train.jsonl", train)
    write_problems(out / "problems" / "test.jsonl", test)
    note(f"{len(train)} train and {len(test)} held-out problems")
    # The skilled model, then the start model.
    tokenizer = build_tokenizer()
    model = skilled_model(tokenizer, held_out, options.seed)
    policy = make_policy(model, tokenizer, "tiny")
    measured = {"skilled": measure_accuracy(policy, test, "before it was spoilt")}
    if options.skilled:
        save_policy(policy, options.skilled)
    spoil(model, tokenizer, held_out, seed=options.seed)
    measured["start"] = measure_accuracy(policy, test, "start model")
    save_policy(policy, out / "tiny")
    note(f"in all {time.process_time():.0f} CPU-s")
    (out / "tiny" / "measured.json").write_text(
        json.dumps(measured, indent=2) + "\n", encoding="utf-8"
    )
    (out / "tiny" / "make_tiny.log").write_text("\n".join(LOG) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
