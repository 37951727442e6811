"""A warm start: a few supervised steps on worked solutions, so that reinforcement learning has
something to select from.

    python -m rlvr_helpers.tools.warm_start --problems two_step --out runs/warm
    python -m rlvr_helpers.compare --model runs/warm --problems two_step --out runs/after-warm

A model that hardly ever earns a reward gives groups without a signal. Here it reads solutions of
training problems, in the answer format and through its own chat template. Held-out problems are
measured before and after, and never trained on. `warm_start.json` beside the model keeps both, the
loss of every step and the settings.
"""

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from rlvr_helpers.engine.files import write_whole
from rlvr_helpers.engine.large import DTYPES, autocast
from rlvr_helpers.evaluation import Evaluation, evaluate, mean_pass_at_k
from rlvr_helpers.models import KNOWN, Policy, format_prompt, load_policy, save_policy
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.rewards import correctness_reward, format_reward
from rlvr_helpers.sampling import encode_prompts
from rlvr_helpers.scoring import token_logprobs
from rlvr_helpers.study.runs import provenance, rounded

COMMAND = "python -m rlvr_helpers.tools.warm_start"


@dataclass(frozen=True)
class WarmStart:
    """Settings of the supervised steps. The learning rate rises over the first steps, then
    stays."""

    steps: int = 24
    batch: int = 16
    learning_rate: float = 2e-5
    warmup_steps: int = 4
    max_grad_norm: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise ValueError(
                f"steps and batch must be at least 1, not {self.steps} and {self.batch}"
            )
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"the learning rate must be above 0, not {self.learning_rate}")

    def rate(self, step: int) -> float:
        """The learning rate of a step (from 1)."""
        return self.learning_rate * min(1.0, step / (self.warmup_steps + 1))


def worked_solution(problem: Problem) -> str:
    """The completion that is taught. Raises ValueError if a problem does not know the equations
    that solve it."""
    if not getattr(problem, "equations", None):
        raise ValueError(
            "these problems come without worked solutions: take 'arithmetic', 'addition' or"
            " 'two_step'"
        )
    steps = " ".join(f"{equation}." for equation in problem.equations)
    return f"<reasoning> {steps} </reasoning>\n<answer>{problem.answer}</answer>"


def solution_ids(policy: Policy, problem: Problem) -> list[int]:
    """The tokens of a worked solution and the end token. Raises ValueError if they would earn no
    reward."""
    text = worked_solution(problem)
    ids = policy.tokenizer(text, add_special_tokens=False).input_ids
    read_back = policy.tokenizer.decode(ids, skip_special_tokens=True)
    if not (correctness_reward(read_back, problem.answer) and format_reward(read_back)):
        raise ValueError(
            f"the model's tokenizer cannot write the solution {text!r}: it reads back as"
            f" {read_back!r}. Take another model"
        )
    # The end token is taught as well, or no answer would end.
    end = policy.tokenizer.eos_token_id
    return [*ids, policy.end_ids[0] if end is None else end]


def supervised_loss(policy: Policy, problems: list[Problem]) -> Tensor:
    """Mean negative log-prob of the tokens of the worked solutions, in nats. Prompts and padding do
    not count."""
    prompt_ids, prompt_mask = encode_prompts(
        policy, [format_prompt(policy, problem.question) for problem in problems]
    )
    # The solutions, right-padded.
    rows = [solution_ids(policy, problem) for problem in problems]
    width = max(map(len, rows))
    ids = torch.tensor(
        [row + [policy.pad_id] * (width - len(row)) for row in rows], device=policy.device
    )
    mask = torch.tensor(
        [[1] * len(row) + [0] * (width - len(row)) for row in rows], device=policy.device
    )
    return (
        -token_logprobs(
            policy.model, prompt_ids, prompt_mask, completion_ids=ids, completion_mask=mask
        ).sum()
        / mask.sum()
    )


def warm_start(
    policy: Policy,
    problems: list[Problem],
    settings: WarmStart,
    loss_of: Callable[[Policy, list[Problem]], Tensor] = supervised_loss,
) -> Iterator[float]:
    """Trains the policy's model in place, epoch after epoch through the shuffled problems. Yields
    the loss of each step.

    Raises ValueError without problems, and FloatingPointError if the loss or the gradient is not
    finite. Then the model keeps its last good weights.
    """
    if not problems:
        raise ValueError("there are no problems to train on: give at least one")
    # No dropout, as in the reinforcement learning that follows.
    model = policy.model.eval()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=0.0, fused=True
    )
    rng = random.Random(settings.seed)
    waiting = []
    for step in range(1, settings.steps + 1):
        # The next batch, from a fresh epoch if need be.
        while len(waiting) < settings.batch:
            waiting += rng.sample(problems, len(problems))
        batch = waiting[: settings.batch]
        waiting = waiting[settings.batch :]
        # Loss and gradient.
        with autocast(policy.device, policy.compute_dtype):
            loss = loss_of(policy, batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        if not (loss.isfinite() and norm.isfinite()):
            raise FloatingPointError(
                f"step {step}: the loss is {loss} and the gradient norm {norm}: lower the rate"
            )
        # The update, with this step's learning rate.
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(step)
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()


def measure_policy(
    policy: Policy, problems: list[Problem], max_tokens: int, samples: int = 8, seed: int = 0
) -> dict:
    """Shares of strictly correct, leniently correct and well formed answers, greedy and sampled,
    and pass@`samples`."""
    # One greedy answer to each problem, and several sampled ones.
    greedy = evaluate(policy, problems, max_tokens)
    generator = torch.Generator().manual_seed(seed)
    sampled = evaluate(
        policy,
        problems,
        max_tokens,
        temperature=1.0,
        samples=samples,
        generator=generator,
        batch_size=64,
    )
    # Whether there is anything to select from.
    at_least_once = {f"pass@{samples}": mean_pass_at_k(sampled, samples, samples)}
    return {
        "problems": len(problems),
        "greedy": _shares(greedy),
        "sampled": _shares(sampled) | at_least_once,
    }


def _shares(verdict: Evaluation) -> dict:
    return {
        "strict": verdict.accuracy,
        "lenient": verdict.lenient_accuracy,
        "format": verdict.format_rate,
        "truncated": sum(verdict.truncated) / len(verdict.truncated),
        "tokens": sum(verdict.lengths) / len(verdict.lengths),
    }


def in_words(name: str, measured: dict) -> str:
    """What was measured, as a line for each way of answering."""
    return "\n".join(
        f"{name}, {way}: " + ", ".join(f"{key} {value:.3g}" for key, value in measured[way].items())
        for way in ("greedy", "sampled")
    )


def refuse_to_overwrite(folder: Path) -> None:
    """Raises ValueError unless the folder is new or empty. Nothing is overwritten, and no run is
    resumed."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ValueError(
            f"{folder.name!r} holds something already, perhaps a model: give another --out, or"
            " remove it"
        )


def run(
    options: argparse.Namespace,
    loss_of: Callable[[Policy, list[Problem]], Tensor],
    measure: Callable[..., dict],
) -> None:
    """The whole command: measure, train with a progress bar, measure again, save."""
    # Refuse what cannot work before anything is loaded.
    refuse_to_overwrite(options.out)
    if min(options.evaluate, options.samples, options.max_tokens) < 1:
        raise ValueError("--evaluate, --samples and --max-tokens must be at least 1")
    settings = WarmStart(options.steps, options.batch, options.lr, seed=options.seed)
    train, held_out = (load_problems(split, options.problems) for split in ("train", "test"))
    worked_solution(train[0])
    policy = load_policy(options.model, compute_dtype=DTYPES[options.compute])
    # It learns the format without examples: the saved model is prompted with only the question.
    policy.examples = ()
    before = measure(policy, held_out[: options.evaluate], options.max_tokens, options.samples)
    print(in_words("before", before), flush=True)
    # Train.
    losses = []
    started = time.perf_counter()
    steps = warm_start(policy, train, settings, loss_of=loss_of)
    with tqdm(steps, total=settings.steps, unit="step") as bar:
        for loss in bar:
            losses.append(loss)
            bar.set_description(f"loss {loss:.3f}")
    seconds = time.perf_counter() - started
    after = measure(policy, held_out[: options.evaluate], options.max_tokens, options.samples)
    print(in_words("after", after), flush=True)
    # Save the model, and beside it what was done and measured.
    command = " ".join([COMMAND, *(options.arguments)])
    report = {
        "provenance": provenance(options.model, options.problems, command=command),
        "settings": asdict(settings) | {"compute": options.compute},
        "max_tokens": options.max_tokens,
        "seconds": seconds,
        "losses": losses,
        "before": before,
        "after": after,
    }
    # Training after it takes the same problems, with the settings of the model that it began with.
    policy.problems = options.problems
    policy.settings = policy.settings | {"max_tokens": options.max_tokens}
    save_policy(policy, options.out)
    text = json.dumps(rounded(report), indent=1) + "\n"
    write_whole(options.out / "warm_start.json", lambda file: file.write(text.encode()))


def main(
    arguments: list[str] | None = None,
    loss_of: Callable[[Policy, list[Problem]], Tensor] = supervised_loss,
    measure: Callable[..., dict] = measure_policy,
) -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.splitlines()[0])
    add = parser.add_argument
    # The supervised steps.
    add("--model", default="smollm2-135m", help=f"{', '.join(KNOWN)}, or a folder")
    add("--problems", default="two_step", help="arithmetic, addition or two_step")
    add("--steps", type=int, default=WarmStart.steps)
    add("--batch", type=int, default=WarmStart.batch, help="problems per step")
    add("--lr", type=float, default=WarmStart.learning_rate, help="learning rate")
    add("--seed", type=int, default=WarmStart.seed)
    add("--compute", choices=("float32", "bfloat16"), default="float32", help="of matrix products")
    # What is measured before and after, and where the model goes.
    add("--evaluate", type=int, default=48, help="held-out problems that are measured")
    add("--samples", type=int, default=8, help="answers to each of them at temperature 1")
    add("--max-tokens", type=int, default=96, help="budget of an answer")
    add("--out", type=Path, required=True, help="new folder for the model and warm_start.json")
    options = parser.parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else arguments
    try:
        run(options, loss_of, measure)
    except (ValueError, OSError, FloatingPointError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; nothing was saved", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
