"""Objectives of your own, by example: two from the literature, in a few lines each.

    Method("CISPO", "std", "token", math.inf, math.inf, "token_mean", objective=cispo)

An objective gives what is maximised on each token, from ratios [B, T], advantages [B, 1] and the
mask [B, T]. (At the sequence level ratios and advantages are [B].) `trl` says the same to TRL's
GRPOConfig, if it knows the objective (`study.trl`).
"""

import math

import torch
from torch import Tensor

from rlvr_helpers.methods import Method

# The largest weight, as in arXiv 2510.13786.
CISPO_HIGH = 5.0
# Temperatures for advantages above 0 and for the others.
SAPO_GAIN = 1.0
SAPO_LOSS = 1.05


def cispo(ratios: Tensor, advantages: Tensor, mask: Tensor, high: float = CISPO_HIGH) -> Tensor:
    """The ratio, cut off above and taken as a constant, weighs the log-prob, so that every token
    keeps a gradient (CISPO, arXiv 2506.13585, eq. 4). log(ratio) has the gradient of the log-prob.
    """
    return ratios.detach().clamp(max=high) * advantages * ratios.log()


def cispo_share(ratios: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """Where the weight is cut off, for advantages above 0, as TRL counts it."""
    return (ratios > CISPO_HIGH) & (advantages > 0)


def sapo(ratios: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """A smooth gate in the place of the clip: the gradient fades as the ratio leaves 1 (SAPO, arXiv
    2511.20347)."""
    tau = torch.where(advantages > 0, SAPO_GAIN, SAPO_LOSS)
    return torch.sigmoid(tau * (ratios - 1)) * 4 / tau * advantages


# What TRL calls them.
cispo.trl = {"loss_type": "cispo", "epsilon_high": CISPO_HIGH}
sapo.trl = {
    "loss_type": "sapo",
    "sapo_temperature_pos": SAPO_GAIN,
    "sapo_temperature_neg": SAPO_LOSS,
}

CISPO = Method(
    "CISPO",
    advantage_scale="std",
    ratio_level="token",
    clip_low=math.inf,
    clip_high=math.inf,
    aggregation="token_mean",
    objective=cispo,
    clip_share=cispo_share,
)
SAPO = Method(
    "SAPO",
    advantage_scale="std",
    ratio_level="token",
    clip_low=math.inf,
    clip_high=math.inf,
    aggregation="sequence_mean",
    objective=sapo,
)
