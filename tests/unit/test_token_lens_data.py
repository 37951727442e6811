"""The token lens without a browser: what it makes of a rollout, its stored output, its words, and
what it refuses."""

import re

import pytest
import torch
import traitlets

from rlvr_helpers.kit.recorded import four_rollouts, recorded_group
from rlvr_helpers.kit.token_lens import TokenLens, token_lens, what_else
from rlvr_helpers.methods import GRPO, GSPO
from rlvr_helpers.models import format_prompt, load_policy
from rlvr_helpers.sampling import sample_groups
from rlvr_helpers.tools import export_explorer
from rlvr_helpers.widgets.live import LONGEST_ALT, SHARED, Still, as_json
from rlvr_helpers.widgets.words import TOKEN_LENS

QUESTION = "Dan has 21 marbles. He sells 9. How many marbles does Dan have now?"


@pytest.fixture(scope="module")
def own():
    """A learner's own policy, rollout and rewards: two groups of three."""
    policy = load_policy("tiny")
    prompts = [format_prompt(policy, QUESTION), format_prompt(policy, QUESTION.replace("9", "8"))]
    rollout = sample_groups(policy, prompts, 3, 24, generator=torch.Generator().manual_seed(0))
    return policy, rollout, torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.0, 1.0]])


def decoded(lens: TokenLens, name: str = "*") -> torch.Tensor:
    """The log-probs that the page gets, flat, at each moment [U, tokens]."""
    steps = lens.data["logprobs"][name]
    return (
        torch.tensor([[x for row in step for x in row] for step in steps]).cumsum(dim=0)
        * lens.data["unit"]
    )


@pytest.mark.parametrize("group", [0, 1])
def test_a_rollout_of_the_learners_own(own, group):
    policy, rollout, rewards = own
    lens = token_lens(rollout, rewards, policy, group=group)
    rows = slice(3 * group, 3 * group + 3)
    keep = rollout.mask[rows].bool()
    assert lens.rewards == rewards[group].tolist() and QUESTION[:20] in lens.data["question"]
    assert [len(row) for row in lens.data["rows"]] == rollout.lengths[rows].tolist()
    found = decoded(lens)
    torch.testing.assert_close(
        found[0], rollout.logprobs[rows][keep].double(), atol=1e-5, rtol=0, check_dtype=False
    )
    # the policy is the one that sampled
    torch.testing.assert_close(found[1], found[0], atol=1e-3, rtol=0)
    assert (
        "<reasoning>" in lens.data["rows"][0] and lens.data["max_tokens"] == rollout.mask.shape[1]
    )


def test_the_learners_own_updates_and_methods(own):
    policy, rollout, rewards = own
    steps = [rollout.logprobs, rollout.logprobs - 0.5, rollout.logprobs + 0.25]
    lens = token_lens(rollout, rewards, policy, logprobs=steps, methods=[GSPO], max_tokens=64)
    found = decoded(lens)
    torch.testing.assert_close(
        found[1] - found[0], torch.full_like(found[0], -0.5), atol=3e-5, rtol=0
    )
    assert (lens.method, lens.data["max_tokens"], len(lens.data["methods"])) == ("GSPO", 64, 1)
    own = token_lens(
        rollout,
        rewards,
        policy,
        logprobs={"GRPO": steps, "GSPO": steps[:1] * 3},
        methods=[GRPO, GSPO],
    )
    assert (decoded(own, "GSPO").diff(dim=0) == 0).all()


def test_without_the_noise_the_piece_in_which_it_fell(own):
    policy, rollout, _ = own
    lens = what_else(rollout, policy)
    assert "noise" not in lens.data and len(lens.data["alternatives"]) == int(
        rollout.mask[:3].sum()
    )


@pytest.mark.parametrize("read", [four_rollouts, recorded_group])
def test_the_noise_falls_into_the_piece_of_the_token_that_was_chosen(read):
    recorded = read()
    lens = what_else(recorded, load_policy("tiny"))
    data, unit = lens.data, lens.data["probability_unit"]
    words = [word for row in data["rows"] for word in row]
    for word, pieces, noise in zip(words, data["alternatives"], data["noise"], strict=True):
        (start, p), *_ = [piece[1:] for piece in pieces if data["vocabulary"][piece[0]] == word]
        assert (start - 1) * unit <= noise <= (start + p + 1) * unit, word
        assert sum(p for *_, p in pieces) * unit <= 1 + 1e-3


@pytest.mark.parametrize(
    "make",
    [
        lambda: token_lens(recorded_group()),
        lambda: token_lens(four_rollouts()),
        lambda: what_else(recorded_group(), load_policy("tiny")),
    ],
)
def test_what_a_notebook_stores_is_a_picture_and_small(make):
    lens = make()
    bundle = lens._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    (alt,) = re.findall(r'<img alt="([^"]+)"', bundle["text/html"])
    assert 20 < len(alt) <= LONGEST_ALT and len(bundle["text/html"].encode()) <= 150_000
    assert len(as_json(lens.data)) <= 80_000
    outside = bundle["text/html"].split("<script")[0]
    assert "<svg" not in outside and "http" not in outside


def test_data_cannot_end_the_script():
    assert "</script" not in as_json({"rows": [["</script><script>alert(1)</script>"]]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json({"x": float("nan")})


def test_a_long_alternative_text_is_refused():
    with pytest.raises(ValueError, match="1 to 150 characters, not 151"):
        Still("<svg/>", "x" * 151, 1, 1)


def test_wrong_input_is_refused_with_what_to_do(own):
    policy, rollout, rewards = own
    with pytest.raises(ValueError, match="give the rewards"):
        token_lens(rollout, None, policy)
    with pytest.raises(ValueError, match="give the policy"):
        token_lens(rollout, rewards)
    with pytest.raises(ValueError, match="rewards must be 6 finite numbers"):
        token_lens(rollout, [1.0, 0.0], policy)
    with pytest.raises(ValueError, match="rewards must be 6 finite numbers"):
        token_lens(rollout, [float("nan")] * 6, policy)
    with pytest.raises(ValueError, match="no group 2: the rollout holds 2 groups"):
        token_lens(rollout, rewards, policy, group=2)
    with pytest.raises(ValueError, match="like the mask"):
        token_lens(rollout, rewards, policy, logprobs=[rollout.logprobs[:, :-1]])


def test_the_page_takes_every_word_from_python():
    """What stands between quotes in the JavaScript is no word of a language: names, tags, keys."""
    script = TokenLens.source()
    code = re.sub(r"(?s)(?:style|STYLE) = `.*?`;", "", script)
    for text in re.findall(r'"([^"\n]*)"', code):
        assert not re.search(r"\w{3,} \w{3,} \w{2,}", text), text
    asked = set(re.findall(r"\bwords\.(\w+)\b(?!\()", script)) - {"py", "formulas"}
    assert asked <= set(TOKEN_LENS), asked - set(TOKEN_LENS)


def test_javascript_is_short_and_readable():
    for path in (SHARED, TokenLens.script, *TokenLens.parts):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert max(map(len, lines)) <= 100, path.name
        starts = [i for i, line in enumerate(lines) if re.match(r"(async )?function |class ", line)]
        for start in starts:
            end = next(i for i in range(start, len(lines)) if lines[i].startswith("}"))
            assert end - start < 50, lines[start]


def test_an_explorer_is_exported_as_one_file(tmp_path, capsys):
    export_explorer.main(["token_lens", "--out", str(tmp_path / "x.html")])
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert len(page) <= 500_000 and "kB" in capsys.readouterr().out
    assert not re.findall(r'(?:src|href)="(?!data:)', page)


@pytest.mark.parametrize(
    ("trait", "wrong"),
    [
        ("token", [8, 0]),
        ("token", [0, 999]),
        ("token", [-1, 0]),
        ("token", [0]),
        ("token", []),
        ("token", ["0", 1]),
        ("token", "first"),
        ("token", None),
        ("method", "PPO"),
        ("method", ""),
        ("method", 3),
        ("update", 17),
        ("update", -1),
        ("update", 1.5),
        ("rewards", [1.0]),
        ("rewards", 8 * [float("nan")]),
        ("rewards", 8 * ["1"]),
        ("shows", "gradient"),
    ],
)
def test_a_value_that_fits_nothing_is_refused(trait, wrong):
    lens = token_lens(recorded_group())
    before = getattr(lens, trait)
    with pytest.raises(traitlets.TraitError, match=trait):
        setattr(lens, trait, wrong)
    assert getattr(lens, trait) == before


def test_every_value_that_fits_is_taken():
    lens = token_lens(recorded_group())
    for method in ("Dr. GRPO", "GSPO", "all"):
        lens.method = method
    for row, tokens in enumerate(lens.data["rows"]):
        lens.token = [row, len(tokens) - 1]
    lens.update = 16
    lens.rewards = 8 * [0.5]
    lens.shows = "change"
    assert (lens.method, lens.update, lens.shows) == ("all", 16, "change")


@pytest.mark.parametrize("group", [-1, 1, 2])
def test_a_group_that_is_not_there_is_refused(group):
    with pytest.raises(ValueError, match=f"no group {group}"):
        what_else(four_rollouts(), load_policy("tiny"), group=group)
