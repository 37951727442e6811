"""What if the model has moved on since it sampled? Importance ratios, for each token and for each
sequence.

`logp_new` and `logp_old` are log-probs of the sampled tokens in nats, [B, T]. `mask` is 1 on
generated tokens up to and including the end token, [B, T]. Whatever stands where the mask is 0
(even NaN) has no effect on value or gradient.
"""

import torch
from torch import Tensor


def token_ratios(logp_new: Tensor, logp_old: Tensor, mask: Tensor) -> Tensor:
    """rho[i,t] = exp(logp_new - logp_old), [B, T] (GRPO, arXiv 2402.03300, eq. 3). It is 1 where
    the mask is 0."""
    return masked_log_ratios(logp_new, logp_old, mask).exp()


def sequence_ratios(logp_new: Tensor, logp_old: Tensor, mask: Tensor) -> Tensor:
    """s[i] = exp(mean over the row's tokens of logp_new - logp_old), [B] (GSPO, arXiv 2507.18071,
    eq. 7).

    The mean, rather than the sum, keeps the spread of s comparable between short and long rows. An
    empty row has s = 1.
    """
    log_ratios = masked_log_ratios(logp_new, logp_old, mask)
    return (log_ratios.sum(dim=1) / mask.bool().sum(dim=1).clamp(min=1)).exp()


def masked_log_ratios(logp_new: Tensor, logp_old: Tensor, mask: Tensor) -> Tensor:
    """logp_new - logp_old where the mask is 1, else 0, [B, T]. logp_old is a constant for the
    gradient.

    Raises ValueError if the three shapes differ.
    """
    if not logp_new.shape == logp_old.shape == mask.shape or mask.dim() != 2:
        raise ValueError(
            "logp_new, logp_old and mask must have one shape [rows, tokens], not "
            f"{list(logp_new.shape)}, {list(logp_old.shape)} and {list(mask.shape)}"
        )
    return torch.where(mask.bool(), logp_new - logp_old.detach(), 0.0)
