"""Records how the answers to a few held-out problems change while `tiny` is trained (lesson 09).

    python -m rlvr_helpers.tools.record_answers --out data/rollouts/answers.json

The file (read by the run explorer of lesson 09): one run per method with the settings of the nine
runs and seed 0, and after each step the greedy answers.

    problems     [{question, answer}]
    texts        every answer that occurs
    answers      a method's name -> [steps + 1][problems], numbers of texts, the start model's first
    rewards      a method's name -> mean reward per step, which tells whether it is the same run
    provenance   settings, date, hardware
"""

from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO, Method
from rlvr_helpers.models import Policy, format_prompt, load_policy
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.sampling import sample_groups
from rlvr_helpers.study.runs import provenance, rounded
from rlvr_helpers.tools.recording import options_of, write_json
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

SETTINGS = TrainSettings(track_kl=False)
# Problems from the end of test, which no evaluation of the nine runs contains.
COUNT = 8


def greedy(policy: Policy, problems: list[Problem]) -> list[str]:
    prompts = [format_prompt(policy, problem.question) for problem in problems]
    return sample_groups(policy, prompts, 1, max_tokens=SETTINGS.max_tokens, temperature=0.0).texts


def answers_of(method: Method, problems: list[Problem]) -> tuple[list[list[str]], list[float]]:
    """The answers before training and after each step, and the mean reward of each step."""
    policy = load_policy("tiny")
    answers = [greedy(policy, problems)]
    rewards = []
    for record in train(policy, load_problems("train"), method, settings=SETTINGS):
        answers.append(greedy(policy, problems))
        rewards.append(record.reward_mean)
    return answers, rewards


def main() -> None:
    out = options_of(__doc__).out
    problems = load_problems("test")[-COUNT:]
    found = {method.name: answers_of(method, problems) for method in (GRPO, DR_GRPO, GSPO)}
    # Most answers stay the same from step to step, so each text is kept once, under a number.
    every = [text for answers, _ in found.values() for step in answers for text in step]
    number = {text: i for i, text in enumerate(dict.fromkeys(every))}
    data = {
        "problems": [{"question": p.question, "answer": p.answer} for p in problems],
        "texts": list(number),
        "answers": {
            name: [[number[text] for text in step] for step in answers]
            for name, (answers, _) in found.items()
        },
        "rewards": rounded({name: rewards for name, (_, rewards) in found.items()}),
        "provenance": provenance("tiny", "tiny", steps=SETTINGS.steps, seed=SETTINGS.seed),
    }
    write_json(out, data)


if __name__ == "__main__":
    main()
