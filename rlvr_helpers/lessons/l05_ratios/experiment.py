"""The experiment of lesson 05: a rollout to take updates on, and a toy in which bias and noise of
four weights are computed exactly.

A toy policy writes `length` words, each one of two, with logits of its own at every position. The
old policy has random logits. The new one has moved away from it by a normal `drift` in each logit.
A text is correct if at least half of its words are the first one. A is its reward less the old
policy's mean reward. All texts can be listed, so the true gradient of the new policy's expected A
is known. So are the mean and the variance of what one sample from the old policy says about it.
"""

import itertools

import torch
from torch import Tensor

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.engine.work import score_rewards
from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.problems import load_problems
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.sampling import Rollout, sample_groups

GROUP = 8
WORDS = 2
# Log-ratios of the tokens, [texts, length] -> the weight of each token's gradient.
WEIGHTS = {
    "none": torch.ones_like,
    "token": torch.exp,
    "sequence": lambda d: d.mean(dim=1, keepdim=True).exp().expand_as(d),
    "product": lambda d: d.sum(dim=1, keepdim=True).exp().expand_as(d),
}


def bias_and_noise(length: int, drift: float, toys: int = 20) -> dict[str, tuple[float, float]]:
    """Bias and noise for each of WEIGHTS. Bias is how far the mean gradient is from the true one,
    noise the standard deviation of one sample's gradient. Both are multiples of the true gradient's
    length, averaged over `toys` random toys."""
    # Write down all texts and their rewards.
    texts = torch.tensor(list(itertools.product(range(WORDS), repeat=length)))
    rewards = (2 * (texts == 0).sum(dim=1) >= length).double()

    # Average over toys with random old logits.
    total = {name: torch.zeros(2, dtype=torch.float64) for name in WEIGHTS}
    for toy in range(toys):
        noise = torch.Generator().manual_seed(toy)
        old = torch.randn(length, WORDS, generator=noise, dtype=torch.float64)
        new = old + drift * torch.randn(length, WORDS, generator=noise, dtype=torch.float64)
        for name, found in _one_toy(texts, rewards, old, new=new).items():
            total[name] += torch.stack(found) / toys
    return {name: tuple(both.tolist()) for name, both in total.items()}


def _one_toy(
    texts: Tensor, rewards: Tensor, old: Tensor, new: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """Bias and noise in one toy.

    texts:    [N, length], all there are
    rewards:  [N]
    old, new: logits [length, WORDS]
    """
    # Score all texts under both policies.
    logp_old, logp_new = (x.log_softmax(dim=1).gather(1, texts.T).T for x in (old, new))
    p_old = logp_old.sum(dim=1).exp()
    p_new = logp_new.sum(dim=1).exp()

    # Compute the true gradient: the mean over all texts as the new policy writes them.
    advantages = rewards - (p_old * rewards).sum()
    grad_logp = torch.nn.functional.one_hot(texts, WORDS) - new.softmax(dim=1)  # [N, length, WORDS]
    true = torch.einsum("n,n,ntw->tw", p_new, advantages, grad_logp)

    # Compare it with the weighted gradient of a text that the old policy wrote.
    found = {}
    for name, weight in WEIGHTS.items():
        sample = (advantages[:, None] * weight(logp_new - logp_old))[..., None] * grad_logp
        mean = torch.einsum("n,ntw->tw", p_old, sample)
        variance = (p_old * (sample - mean).square().sum(dim=(1, 2))).sum()
        found[name] = (mean - true).norm() / true.norm(), variance.sqrt() / true.norm()
    return found


def sampled_rollout(policy: Policy, count: int, seed: int = 0) -> tuple[Rollout, Tensor]:
    """Eight answers to each of the first `count` training problems, and GRPO's advantages, [B]."""
    problems = load_problems("train")[:count]
    prompts = [format_prompt(policy, problem.question) for problem in problems]
    generator = torch.Generator().manual_seed(seed)
    rollout = sample_groups(policy, prompts, GROUP, max_tokens=64, generator=generator)
    rewards = score_rewards(rollout, problems, correctness_reward)
    return rollout, group_advantages(rewards).flatten()


def score(policy: Policy, rollout: Rollout) -> Tensor:
    """Log-probs of the rollout's tokens under the policy as it is now, [B, T]."""
    return rollout.logprobs_under(policy.model)
