"""Tensors for the cases of several lessons."""

import torch
from torch import Tensor


def numbers(values: list) -> Tensor:
    """The values in float64."""
    return torch.tensor(values, dtype=torch.float64)


def random_numbers(*shape: int, seed: int) -> Tensor:
    """Standard normal numbers in float64, the same for each seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ragged_mask(lengths: list[int], width: int) -> Tensor:
    """1 for the first positions of each row, as many as `lengths` says, [rows, width]."""
    return (torch.arange(width) < torch.tensor(lengths)[:, None]).long()


def batch(lengths: list[int], width: int, seed: int, spread: float, padding: list[float]) -> tuple:
    """logp_new, logp_old, mask [rows, width] with rows of the given lengths. Where the mask is 0
    stand the numbers of `padding` in turn."""
    noise = torch.Generator().manual_seed(seed)
    # Old log-probs between -3 and 0, and new ones around them.
    old = -3 * torch.rand(len(lengths), width, generator=noise, dtype=torch.float64)
    new = old + spread * torch.randn(len(lengths), width, generator=noise, dtype=torch.float64)
    mask = ragged_mask(lengths, width)
    filler = numbers(padding).repeat(len(lengths), width)[:, :width]
    return (
        torch.where(mask.bool(), new, filler),
        torch.where(mask.bool(), old, filler.flip(1)),
        mask,
    )
