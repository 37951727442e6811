"""One scorer for reward and evaluation: what it may return, where it goes, and what stays as it was
with a reward."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_policies import make_tiny, some_problems

from rlvr_helpers.compare import main, parser, read_seeds
from rlvr_helpers.engine.error_notes import with_notes
from rlvr_helpers.engine.names import load_by_name
from rlvr_helpers.evaluation import Evaluation, evaluate
from rlvr_helpers.methods import GRPO, method_from_text
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.records import StepRecord
from rlvr_helpers.rewards import as_scorer, correctness_reward, score_completion
from rlvr_helpers.study.comparison import Comparison, run_comparison
from rlvr_helpers.study.runs import load_run
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

SMALL = TrainSettings(
    steps=2, prompts_per_step=4, group_size=4, minibatches=2, max_tokens=6, eval_every=1
)
PROBLEM = Problem("9 3 7", "3 7 9", columns={"numbers": [9, 3, 7]})


def by_length(completion, problem):
    """Two parts that any text has. It reads every column of its problem."""
    long = len(completion.split()) > int(problem["least"])
    return {"correct": float(long), "words": len(completion.split()) / 8}


by_length.weights = {"words": 0.5}


def rows_of(problems):
    """The same problems with a further column."""
    return [replace(problem, columns={"least": k % 3 + 1}) for k, problem in enumerate(problems)]


def scored(value, weights=None):
    """The score of a scorer that returns this."""

    def scorer(completion, problem):
        assert problem is PROBLEM
        return value

    if weights is not None:
        scorer.weights = weights
    return score_completion(scorer, "a text", PROBLEM)


# --- what a scorer returns


@pytest.mark.parametrize(
    "value, weights, reward, correct",
    [
        (1.0, None, 1.0, True),
        (True, None, 1.0, True),
        (0.5, None, 0.5, False),
        (2, None, 2.0, False),
        ({"a": 0.7, "b": 0.3}, None, 1.0, True),
        ({"a": 0.1, "b": 0.2, "c": 0.7}, None, 1.0, True),
        ({"a": 1, "b": 1}, {"a": 0.5, "b": 0.25}, 0.75, False),
        ({"a": 1, "b": 1}, {"b": 0}, 1.0, True),
        ({"correct": 1, "tidy": 0}, {"tidy": 0.2}, 1.0, True),
        ({"correct": 1, "tidy": 1}, {"tidy": 0.2}, 1.2, True),
        ({"correct": 0, "tidy": 5}, {"tidy": 0.2}, 1.0, False),
        (np.bool_(True), None, 1.0, True),
        (torch.tensor(0.5), None, 0.5, False),
        (
            {"correct": np.bool_(True), "tidy": torch.tensor(1)},
            {"tidy": np.float32(0.5)},
            1.5,
            True,
        ),
    ],
)
def test_the_reward_is_the_weighted_sum_and_correct_its_part_or_a_total_of_1(
    value, weights, reward, correct
):
    score = scored(value, weights)
    assert score.reward == pytest.approx(reward) and score.correct is correct
    assert score.parts == (value if isinstance(value, dict) else {"reward": value})


@pytest.mark.parametrize(
    "value",
    [
        None,
        "1",
        float("nan"),
        {},
        {"a": None},
        {"a": float("inf")},
        {1: 1.0},
        [1.0],
        10**400,
        torch.tensor([1.0, 0.0]),
        torch.tensor(float("nan")),
    ],
)
def test_what_is_no_score_is_refused_with_the_text(value):
    with pytest.raises(ValueError, match="must return a finite number, or a dict .* 'a text'"):
        scored(value)


@pytest.mark.parametrize("weights", [{"tydi": 1.0}, {"tidy": None}, {"tidy": float("nan")}])
def test_a_weight_of_no_part_is_refused(weights):
    with pytest.raises(ValueError, match="weight .* for 't.*its parts, which are correct, tidy"):
        scored({"correct": 1.0, "tidy": 0.0}, weights)


@pytest.mark.parametrize("weights", [["tidy"], 0.2, "tidy"])
def test_weights_are_a_dict(weights):
    with pytest.raises(ValueError, match="weights must be a dict as"):
        scored({"correct": 1.0, "tidy": 0.0}, weights)


def test_an_error_of_a_scorer_keeps_its_kind_and_says_where_and_on_which_text():
    def scorer(completion, problem):
        return float(int(completion))

    line = scorer.__code__.co_firstlineno + 1
    here = re.escape(f"test_scorer.py, line {line}, ValueError of the scorer on the text 'a text'")
    for asked in ({"scorer": scorer}, {"reward": scorer}):
        with pytest.raises(ValueError, match="invalid literal") as caught:
            score_completion(as_scorer(**asked), "a text", PROBLEM)
        assert re.search(here, with_notes(caught.value))


@pytest.mark.parametrize("silent", [SystemExit, StopIteration, GeneratorExit])
def test_a_scorer_does_not_end_the_run_without_a_word(silent):
    def scorer(completion, problem):
        raise silent

    line = scorer.__code__.co_firstlineno + 1
    with pytest.raises(RuntimeError, match="ended the run instead of returning") as caught:
        score_completion(scorer, "a text", PROBLEM)
    here = f"test_scorer.py, line {line}, {silent.__name__} of the scorer on the text 'a text'"
    assert here in with_notes(caught.value)


def test_a_keyboard_interrupt_in_a_scorer_stays_one():
    def scorer(completion, problem):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_completion(scorer, "a text", PROBLEM)


def test_parts_must_be_the_same_for_every_completion():
    def wavering(completion, problem):
        return {"a": 1.0} if len(completion) % 2 else {"a": 1.0, "b": 0.0}

    with pytest.raises(ValueError, match="return the same parts for every completion"):
        list(train(make_tiny(), some_problems(), GRPO, SMALL, scorer=wavering))


def test_a_problem_is_its_whole_row():
    assert [PROBLEM["question"], PROBLEM["answer"], PROBLEM["numbers"]] == [
        "9 3 7",
        "3 7 9",
        [9, 3, 7],
    ]
    with pytest.raises(KeyError, match="no column 'nubmers', it has question, answer, numbers"):
        PROBLEM["nubmers"]
    assert PROBLEM == Problem("9 3 7", "3 7 9") and hash(PROBLEM)


# --- training and evaluation


def test_parts_are_logged_apart_and_the_scorer_says_what_is_correct():
    problems = rows_of(some_problems())
    said = []

    def watched(completion, problem):
        said.append(by_length(completion, problem))
        return said[-1]

    watched.weights = by_length.weights
    records = []
    for record in train(make_tiny(), problems, GRPO, SMALL, scorer=watched):
        assert len(said) == 16, "once for each completion"
        for name in ("correct", "words"):
            mean = sum(score[name] for score in said) / 16
            assert record.parts[name] == pytest.approx(mean)
        assert record.accuracy == pytest.approx(record.parts["correct"])
        total = record.parts["correct"] + 0.5 * record.parts["words"]
        assert record.reward_mean == pytest.approx(total, rel=1e-5)
        records.append(record)
        said.clear()
    assert 0 < records[0].accuracy < 1


def test_evaluate_takes_the_scorer():
    problems = rows_of(some_problems())
    found = evaluate(make_tiny(), problems, 6, scorer=by_length, batch_size=4)
    assert found.strict == [value == 1.0 for value in found.parts["correct"]] == found.lenient
    assert len(found.parts["words"]) == len(problems)
    assert found.part_means["words"] == pytest.approx(sum(found.parts["words"]) / len(problems))
    assert Evaluation.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    usual = evaluate(make_tiny(), problems, 6)
    assert usual.parts == {} and "parts" not in usual.to_dict()
    assert usual.lengths == found.lengths and usual.strict != found.strict


def test_a_record_with_parts_is_read_back():
    problems = rows_of(some_problems())
    records = list(
        train(make_tiny(), problems, GRPO, SMALL, scorer=by_length, eval_problems=problems)
    )
    again = [StepRecord.from_dict(json.loads(json.dumps(r.to_dict()))) for r in records]
    assert again == records and again[0].eval.parts.keys() == {"correct", "words"}


def test_both_a_reward_and_a_scorer_are_an_error():
    with pytest.raises(ValueError, match="a reward or a scorer, not both"):
        train(
            make_tiny(), some_problems(), GRPO, SMALL, reward=correctness_reward, scorer=by_length
        )
    with pytest.raises(ValueError, match="a reward or a scorer, not both"):
        Comparison(reward="correctness", scorer=by_length)


def test_a_reward_of_the_old_kind_is_wrapped_and_changes_nothing():
    """A reward and the scorer that it is wrapped in train the same weights. Only correct is another
    matter: the reader of numbers says it."""

    def letters(text, gold):
        return len(text) % 4 / 4

    weights = []
    for given in ({"reward": letters}, {"scorer": lambda text, problem: letters(text, None)}):
        policy = make_tiny()
        records = list(train(policy, some_problems(), GRPO, SMALL, **given))
        weights.append(torch.cat([p.flatten() for p in policy.model.parameters()]))
    assert torch.equal(*weights)
    assert records[0].parts.keys() == {"reward"}
    score = score_completion(as_scorer(letters), "<answer> 3 </answer>", Problem("3", "3"))
    assert (score.reward, score.correct, score.parts) == (0.0, True, {})


def test_another_scorer_or_other_weights_do_not_resume_a_run(tmp_path):
    def run(scorer, problems):
        return list(
            train(make_tiny(), problems, GRPO, SMALL, scorer=scorer, checkpoint_dir=tmp_path)
        )

    problems = rows_of(some_problems())
    first = run(by_length, problems)
    assert run(by_length, problems) == first

    def heavier(completion, problem):
        return by_length(completion, problem)

    with pytest.raises(ValueError, match="holds a run with reward"):
        run(heavier, problems)
    by_length.weights["words"] = 0.75
    try:
        with pytest.raises(ValueError, match="with weights"):
            run(by_length, problems)
    finally:
        by_length.weights["words"] = 0.5
    moved = [replace(problem, columns={"least": 5}) for problem in problems]
    with pytest.raises(ValueError, match="holds a run with problems"):
        run(by_length, moved)


# --- problems with any columns


def write_table(folder, kind):
    from datasets import Dataset

    rows = {"question": ["9 3 7", "2 8 1"], "answer": ["3 7 9", "1 2 8"], "code": ["007", "NA"]}
    for split in ("train", "test"):
        table = Dataset.from_dict(rows)
        if kind == "jsonl":
            table.to_json(folder / f"{split}.jsonl")
        elif kind == "csv":
            table.to_csv(folder / f"{split}.csv", index=False)
        else:
            table.to_parquet(folder / f"{split}.parquet")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_folder_with_any_columns(tmp_path, kind):
    write_table(tmp_path, kind)
    first, second = load_problems("train", str(tmp_path), numbers=False)
    assert (first.question, first.answer, first.columns) == ("9 3 7", "3 7 9", {"code": "007"})
    assert second["code"] == "NA", "text stays text"
    with pytest.raises(
        ValueError, match=r"[12] is no problem: .*load_problems\(..., numbers=False\)"
    ):
        load_problems("train", str(tmp_path))


def test_answers_may_be_anything_or_missing(tmp_path):
    rows = [{"question": "a", "answer": [3, 7]}, {"question": "b"}, {"question": "c", "answer": 7}]
    text = "\n".join(map(json.dumps, [*rows, {"question": "d", "answer": "4+4 #### 8"}]))
    (tmp_path / "train.jsonl").write_text(text)
    problems = load_problems("train", str(tmp_path), numbers=False)
    assert [problem.answer for problem in problems] == [[3, 7], "", 7, "8"]


def test_a_csv_file_of_numbers_is_read_as_before(tmp_path):
    (tmp_path / "train.csv").write_text(
        'question,answer\n3 + 4 = ?,7\n"How many, all told?","1,080"\n'
    )
    assert load_problems("train", str(tmp_path)) == [
        Problem("3 + 4 = ?", "7"),
        Problem("How many, all told?", "1080"),
    ]


def test_names_of_columns_are_read_without_white_space_and_may_be_missing(tmp_path):
    (tmp_path / "train.csv").write_text("question, answer ,,\na,3 7,,\n")
    (problem,) = load_problems("train", str(tmp_path), numbers=False)
    assert problem.answer == "3 7"


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("train.csv", b"question,answer\n\xff,1\n", "train.csv, line 2 is no UTF-8 text"),
        ("train.csv", b"question,answer\na,1\nb,2,3\n", "line 3 .* as many cells as the 2 columns"),
        ("train.csv", b'question,answer\na,"1\n', "train.csv, line 1 is no row of a table"),
        ("train.csv", b"query,answer\na,1\n", "line 2 .*'question' is missing, there are query, a"),
        ("train.csv", b"question;answer\na;1\n", "is missing, there are question;answer"),
        ("train.csv", b"", "train.csv holds no problems: expected a table with the columns"),
        ("train.csv", b"question,answer, answer\na,1,2\n", "two of the columns .* have one name"),
        ("train.parquet", b"PAR1 or not", "train.parquet cannot be read as a Parquet table"),
    ],
)
def test_a_broken_table_is_one_clear_error(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        load_problems("train", str(tmp_path), numbers=False)
    assert str(tmp_path) not in str(caught.value)


# --- a comparison, and its command line

TASK = '''
def score(completion, problem):
    """Reads a column that only this file knows."""
    words = completion.split()
    return {"correct": float(bool(words) and words[0] == problem["first"]), "short": len(words) < 9}

score.weights = {"short": 0.1}
nameless = lambda completion, problem: 1.0
number = 3

def wrong(completion, problem):
    return float(int("no number"))

def lost(completion, problem):
    return problem.columns["no such column"]

def ends(completion, problem):
    raise SystemExit(0)
'''
SETS = ["prompts_per_step=4", "group_size=4", "minibatches=2", "max_tokens=12"]


@pytest.fixture
def task(tmp_path, monkeypatch):
    """A folder with a module of one's own and problems, and a command that uses both."""
    name = f"task_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(TASK)
    for split in ("train", "test"):
        rows = [
            {"question": f"{a} {b} 7", "answer": "none", "first": str(a)}
            for a in (1, 2, 3)
            for b in (4, 5)
        ]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(tmp_path)
    command = ["--problems", str(tmp_path), "--steps", "1", "--eval-count", "4", "--out", "out"]
    command += [word for pair in SETS for word in ("--set", pair)]
    return command, name


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_command_line_takes_scorer_seeds_and_a_method_of_ones_own(task, workers, capsys):
    command, name = task
    own = "name=GSPO wide,ratio_level=sequence,clip_low=0.2,clip_high=0.3"
    more = ["--scorer", f"{name}:score", "--method", own, "--seeds", "4,5", "--workers", workers]
    assert main([*command, *more]) == 0, capsys.readouterr().err
    runs = {seed: load_run(f"out/gspo_wide-seed{seed}/run.json") for seed in (4, 5)}
    for seed, run in runs.items():
        assert run.method == replace(
            GRPO, name="GSPO wide", ratio_level="sequence", clip_low=0.2, clip_high=0.3
        )
        assert run.settings.seed == seed and run.records[0].parts.keys() == {"correct", "short"}
        assert run.provenance["scorer"].startswith(f"{name}.score")
    assert "correct 0." in open("out/log.txt", encoding="utf-8").read()
    assert main([*command, "--methods", "grpo", "--seeds", "1"]) == 2, "answers are no numbers"
    assert "numbers=False" in capsys.readouterr().err


@pytest.mark.parametrize(
    "scorer, words",
    [
        ("nameless", "several workers import the scorer by its name.*--workers 1"),
        ("number", "is no function, but int"),
        ("scroe", "there is no scorer"),
    ],
)
def test_a_scorer_that_cannot_be_used_is_one_clear_error(task, scorer, words, capsys):
    command, name = task
    more = ["--scorer", f"{name}:{scorer}", "--methods", "grpo,gspo", "--seeds", "1"]
    assert main([*command, *more, "--workers", "2"]) == 2
    error = capsys.readouterr().err
    assert re.search(words, error) and error.count("\n") == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_scorer_that_fails_is_told_with_its_line(task, workers, capsys):
    command, name = task
    more = ["--scorer", f"{name}:wrong", "--methods", "grpo, gspo", "--seeds", "1"]
    assert main([*command, *more, "--workers", workers]) == 2
    assert f"({name}.py, line 12, ValueError of the scorer on the text" in capsys.readouterr().err


@pytest.mark.parametrize("own, what", [("lost", "line 15, KeyError"), ("ends", "line 18, SystemE")])
def test_whatever_a_scorer_raises_ends_the_command_in_one_line(task, own, what, capsys):
    command, name = task
    more = ["--scorer", f"{name}:{own}", "--methods", "grpo", "--seeds", "1", "--workers", "1"]
    assert main([*command, *more]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and f"({name}.py, {what}" in error


@pytest.mark.parametrize(
    "text, words",
    [
        ("def score(c, p)\n", "SyntaxError: expected ':' (broken{n}.py, line 1)"),
        ("\nx = undefined\n", "NameError: name 'undefined' is not defined, broken{n}.py, line 2"),
        ("raise SystemExit('no')\n", "SystemExit: no, broken{n}.py, line 1"),
        ("open('no such file')\n", "broken{n}.py, line 1"),
    ],
)
def test_a_module_that_fails_is_one_clear_error(text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / f"broken{len(text)}.py").write_text(text)
    with pytest.raises(ValueError) as caught:
        load_by_name(f"broken{len(text)}:score", "scorer")
    assert words.format(n=len(text)) in str(caught.value) and "my_task:score" in str(caught.value)


def test_a_lambda_runs_with_one_worker(task):
    command, name = task
    more = ["--scorer", f"{name}:nameless", "--methods", "grpo", "--seeds", "1"]
    assert main([*command, *more, "--workers", "1"]) == 0


@pytest.mark.parametrize(
    "scorer", ["sorting", ":score", "sorting:", "no_such_module_here:score", "./sorting:score"]
)
def test_a_scorer_has_a_module_and_a_function(scorer, tmp_path, capsys):
    assert main(["--scorer", scorer, "--out", str(tmp_path)]) == 2
    assert "my_task:score" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, seeds",
    [("3", (0, 1, 2)), ("1", (0,)), ("4,5,6", (4, 5, 6)), ("7,", (7,)), (" 2, 9", (2, 9))],
)
def test_seeds_by_their_number_or_by_name(text, seeds):
    assert read_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1,b", ",", "1.5", "0", "-1"])
def test_other_seeds_are_refused(text):
    with pytest.raises(ValueError, match="give how many seeds, as 3, or the seeds themselves"):
        read_seeds(text)


@pytest.mark.parametrize(
    "text, words",
    [
        ("clip_low=0.2", "give it a name"),
        ("name=A,clip=0.2", "'clip=0.2' must be choice=value"),
        ("name=A,clip_low", "'clip_low' must be choice=value"),
        ("name=A,clip_low=wide", "clip_low must be a number"),
        ("name=A,clip_low=-1", "must be 0 or more"),
        ("name=A,clip_high=nan", "must be 0 or more"),
        ("name=A,kl_coef=nan", "must be 0 or more"),
        ("name=A,kl_coef=inf", "kl_coef finite"),
        ("name=A,ratio_level=word", "ratio_level must be one of token, sequence"),
        ("name=A,name=B", "each once"),
        ("name=A;clip_low=0.3", "'name=A;clip_low=0.3' must be choice=value"),
    ],
)
def test_a_method_that_makes_none_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        method_from_text(text)


def test_methods_whose_folders_would_be_the_same_are_refused():
    same = (replace(GRPO, name="GSPO wide"), replace(GRPO, name="gspo_wide"))
    with pytest.raises(ValueError, match="each once"):
        Comparison(methods=same)


def test_a_preset_takes_a_scorer_in_place_of_its_reward(task, tmp_path):
    from rlvr_helpers.compare import comparison_of

    _, name = task
    options = ["--preset", "original", "--model", "tiny", "--scorer", f"{name}:score", "--out", "o"]
    comparison = comparison_of(parser().parse_args(options))
    assert comparison.reward is None and comparison.scorer is not None


def test_a_folder_of_another_scorer_is_not_continued(tmp_path):
    def comparison(scorer):
        return Comparison(
            methods=(GRPO,),
            seeds=(0,),
            settings=replace(SMALL, max_tokens=12),
            eval_count=4,
            out=tmp_path,
            scorer=scorer,
        )

    list(run_comparison(comparison(lambda completion, problem: 1.0), {}))
    with pytest.raises(ValueError, match="holds a run with scorer"):
        list(run_comparison(comparison(lambda completion, problem: 0.0), {}))
    with pytest.raises(ValueError, match="holds a run with reward = None, not 'correctness'"):
        list(run_comparison(comparison(None), {}))
