"""How can a reward move a weight? The policy gradient: exact, estimated from samples, and as the
gradient of a loss.

The small policy of lesson 03 is a softmax over K answers ("arms") with one weight each: `logits`
[K], `rewards` [K].
"""

import torch
from torch import Tensor


def exact_gradient(logits: Tensor, rewards: Tensor) -> Tensor:
    """Gradient of the expected reward J = sum_k p_k R_k with respect to the logits, [K] -> [K], p =
    softmax(logits).

    dJ/dlogit_k = p_k (R_k - J): the policy gradient theorem (Sutton et al., NeurIPS 1999, theorem
    1) for one softmax.
    """
    p = logits.detach().softmax(dim=0)
    return p * (rewards - (p * rewards).sum())


def score_function_gradient(logits: Tensor, actions: Tensor, advantages: Tensor) -> Tensor:
    """Estimate of that gradient from n sampled arms: mean over i of A[i] * d log p[actions[i]] / d
    logits, [K].

    actions [n]: the arm of each sample. advantages: [n]. For a softmax the score d log p_a /
    d logit_k is 1 - p_k where k = a, else -p_k. This is REINFORCE (R. J. Williams, Machine Learning
    8, 1992).
    """
    scores = torch.nn.functional.one_hot(actions, len(logits)) - logits.detach().softmax(dim=0)
    return (advantages.detach()[:, None] * scores).mean(dim=0)


def surrogate_loss(logp: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """-mean over rows of A[i] * log-prob of completion i, []. Its gradient is minus the policy
    gradient's estimate.

    logp [B, T]: log-probs of the sampled tokens in nats, whose sum over a row's tokens is the
    completion's log-prob. advantages [B] are constants for the gradient. What stands where the mask
    [B, T] is 0 has no effect. As a number the loss means little: minimise it for its gradient
    (Williams 1992, and as a loss J. Schulman et al., arXiv 1707.06347, eq. 2).
    """
    if logp.shape != mask.shape or advantages.shape != mask.shape[:1]:
        raise ValueError(
            "logp and mask must be [rows, tokens] and advantages [rows], not "
            f"{list(logp.shape)}, {list(mask.shape)} and {list(advantages.shape)}"
        )
    of_completions = torch.where(mask.bool(), logp, 0.0).sum(dim=1)
    return -(advantages.detach() * of_completions).mean()
