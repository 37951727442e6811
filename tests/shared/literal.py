"""Slow, literal reference implementations of every equation of the course, and their gradients in closed form.

Plain Python numbers (float64) and loops, one step of the formula a line: read this file beside the
papers. The fast functions of the package are tested against it, in value and in gradient.

    rewards[p][k]     P prompts, G completions each
    new[i][t]         log-prob of token t of row i under the policy that is trained
    old[i][t]         the same under the policy that sampled it; ref[i][t]: under the frozen
    reference mask[i][t]        1 for a generated token, 0 for padding, where nothing is read; n_i
    is its sum over t A[i]              the advantage of row i
    low, high         the clip range: the ratio is held between 1 - low and 1 + high

Papers: GRPO is arXiv 2402.03300, Dr. GRPO 2503.20783, GSPO 2507.18071, DAPO 2503.14476. Losses are
minimised, so every one is the negative of the paper's objective.
"""

from dataclasses import dataclass
from math import exp, sqrt

import torch

# --- advantages -----------------------------------------------------------------------------------


def advantages_std(rewards):
    """A = (R - mean) / std within each group: GRPO sec. 4.1.2, GSPO eq. 6. The std divides by G -
    1, and 1e-4 is added to it as TRL and verl do. Equal rewards give exactly 0."""
    table = []
    for group in rewards:
        mean = sum(group) / len(group)
        std = sqrt(sum((r - mean) ** 2 for r in group) / (len(group) - 1))
        table.append(
            [0.0 if max(group) == min(group) else (r - mean) / (std + 1e-4) for r in group]
        )
    return table


def advantages_none(rewards):
    """A = R - mean within each group: Dr. GRPO sec. 3.2."""
    table = []
    for group in rewards:
        mean = sum(group) / len(group)
        table.append([0.0 if max(group) == min(group) else r - mean for r in group])
    return table


def advantages_leave_one_out(rewards):
    """A = R - mean of the other rewards of the group: RLOO (arXiv 2402.14740)."""
    table = []
    for group in rewards:
        row = []
        for k, r in enumerate(group):
            others = group[:k] + group[k + 1 :]
            row.append(0.0 if max(group) == min(group) else r - sum(others) / len(others))
        table.append(row)
    return table


# --- ratios ---------------------------------------------------------------------------------------


def token_ratio(new, old, i, t):
    """rho[i][t] = pi(token) / pi_old(token): the ratio inside GRPO eq. 3, w of GSPO eq. 3."""
    return exp(new[i][t] - old[i][t])


def length(mask, i):
    """n_i, which the papers write |o_i|."""
    return sum(mask[i])


def sequence_ratio(new, old, mask, i):
    """s_i = (pi(completion) / pi_old(completion)) ** (1 / n_i): GSPO eq. 7. An empty row has ratio
    1."""
    if length(mask, i) == 0:
        return 1.0
    log_ratio = 0.0
    for t, m in enumerate(mask[i]):
        if m:
            log_ratio += new[i][t] - old[i][t]
    return exp(log_ratio / length(mask, i))


def sequence_ratio_gradient(new, old, mask, i, t):
    """d s_i / d new[i][t] = s_i / n_i: the step from GSPO eq. 8 to eq. 10."""
    return sequence_ratio(new, old, mask, i) / length(mask, i) if mask[i][t] else 0.0


# --- clipping -------------------------------------------------------------------------------------


def clipped(q, a, low, high):
    """min(q A, clip(q, 1 - low, 1 + high) A): inside GRPO eq. 3, GSPO eq. 5; with two ranges DAPO
    eq. 8."""
    held = min(max(q, 1 - low), 1 + high)
    return min(q * a, held * a)


def binds(q, a, low, high):
    """Does the clip stop the gradient here? Only where going on would raise the objective
    further."""
    return (a > 0 and q > 1 + high) or (a < 0 and q < 1 - low)


def clipped_gradient(q, a, low, high):
    """d clipped / d q: A where the clip does not bind, else 0."""
    return 0.0 if binds(q, a, low, high) else a


# --- KL to the reference --------------------------------------------------------------------------


def kl(log_prob, log_prob_ref, kind):
    """The three estimators of one token, with x = ref - new. k3 is GRPO eq. 4."""
    x = log_prob_ref - log_prob
    if kind == "k1":
        return -x
    if kind == "k2":
        return x**2 / 2
    if kind == "k3":
        return exp(x) - x - 1
    raise ValueError(kind)


def kl_gradient(log_prob, log_prob_ref, kind):
    """d kl / d log_prob."""
    x = log_prob_ref - log_prob
    return {"k1": 1.0, "k2": -x, "k3": 1 - exp(x)}[kind]


# --- aggregation ----------------------------------------------------------------------------------


def weight(mask, i, how, max_tokens=None, total_rows=None, total_tokens=None):
    """How much one token of row i counts in the loss. The totals are those of the whole optimizer
    batch, for a micro-batch that holds only some of its rows."""
    rows = len(mask) if total_rows is None else total_rows
    tokens = sum(sum(row) for row in mask) if total_tokens is None else total_tokens
    if how == "sequence_mean":  # GRPO eq. 3: the mean over rows of each row's mean
        return 1 / (rows * length(mask, i))
    if how == "constant":  # Dr. GRPO sec. 3.2: the generation budget, the same for every row
        return 1 / (rows * max_tokens)
    if how == "token_mean":  # DAPO eq. 8: every token of the batch alike
        return 1 / tokens
    raise ValueError(how)


def aggregate(values, mask, how, max_tokens=None, total_rows=None, total_tokens=None):
    """One number from values[i][t]."""
    total = 0.0
    for i, row in enumerate(mask):
        for t, m in enumerate(row):
            if m:
                total += weight(mask, i, how, max_tokens, total_rows, total_tokens) * values[i][t]
    return total


# --- the four losses, each as its paper writes it -------------------------------------------------


def grpo_loss(new, old, A, mask, low, high, beta=0.0, ref=None):
    """GRPO eq. 3, with the KL term inside the sum."""
    loss = 0.0
    for i in range(len(A)):
        for t, m in enumerate(mask[i]):
            if m:
                gain = clipped(token_ratio(new, old, i, t), A[i], low, high)
                if beta:
                    gain -= beta * kl(new[i][t], ref[i][t], "k3")
                loss -= gain / length(mask, i) / len(A)
    return loss


def dr_grpo_loss(new, old, A, mask, low, high, max_tokens):
    """Dr. GRPO sec. 3.2: neither 1 / n_i nor 1 / std; the sum is divided by the generation
    budget."""
    loss = 0.0
    for i in range(len(A)):
        for t, m in enumerate(mask[i]):
            if m:
                loss -= clipped(token_ratio(new, old, i, t), A[i], low, high) / max_tokens / len(A)
    return loss


def gspo_loss(new, old, A, mask, low, high):
    """GSPO eq. 5: one ratio and one clip for the whole completion."""
    loss = 0.0
    for i in range(len(A)):
        if length(mask, i) > 0:
            loss -= clipped(sequence_ratio(new, old, mask, i), A[i], low, high) / len(A)
    return loss


def dapo_loss(new, old, A, mask, low, high):
    """DAPO eq. 8 (without its dynamic sampling): a mean over all tokens of the batch."""
    tokens = sum(sum(row) for row in mask)
    loss = 0.0
    for i in range(len(A)):
        for t, m in enumerate(mask[i]):
            if m:
                loss -= clipped(token_ratio(new, old, i, t), A[i], low, high) / tokens
    return loss


def grpo_gradient(new, old, A, mask, low, high):
    """d grpo_loss / d new[i][t] = -A rho live / (B n_i): GSPO eq. 12; live is 0 if the clip binds,
    else 1."""
    table = [[0.0] * len(row) for row in mask]
    for i in range(len(A)):
        for t, m in enumerate(mask[i]):
            rho = token_ratio(new, old, i, t) if m else 1.0
            if m and not binds(rho, A[i], low, high):
                table[i][t] = -A[i] * rho / (len(A) * length(mask, i))
    return table


def dr_grpo_gradient(new, old, A, mask, low, high, max_tokens):
    """d dr_grpo_loss / d new[i][t] = -A rho live / (B L_max)."""
    table = [[0.0] * len(row) for row in mask]
    for i in range(len(A)):
        for t, m in enumerate(mask[i]):
            rho = token_ratio(new, old, i, t) if m else 1.0
            if m and not binds(rho, A[i], low, high):
                table[i][t] = -A[i] * rho / (len(A) * max_tokens)
    return table


def gspo_gradient(new, old, A, mask, low, high):
    """d gspo_loss / d new[i][t] = -A s live / (B n_i): GSPO eq. 10, the same for every token of the
    row."""
    table = [[0.0] * len(row) for row in mask]
    for i in range(len(A)):
        s = sequence_ratio(new, old, mask, i)
        for t, m in enumerate(mask[i]):
            if m and not binds(s, A[i], low, high):
                table[i][t] = -A[i] * s / (len(A) * length(mask, i))
    return table


def dapo_gradient(new, old, A, mask, low, high):
    """d dapo_loss / d new[i][t] = -A rho live / (number of tokens)."""
    tokens = sum(sum(row) for row in mask)
    table = [[0.0] * len(row) for row in mask]
    for i in range(len(A)):
        for t, m in enumerate(mask[i]):
            rho = token_ratio(new, old, i, t) if m else 1.0
            if m and not binds(rho, A[i], low, high):
                table[i][t] = -A[i] * rho / tokens
    return table


# --- any method: the same parts, put together as its four choices say -----------------------------


def policy_loss(
    method, new, old, A, mask, max_tokens, ref=None, total_rows=None, total_tokens=None
):
    """The loss of any combination of ratio level, clip range, aggregation and KL term."""
    values = [[0.0] * len(row) for row in mask]
    for i in range(len(A)):
        s = sequence_ratio(new, old, mask, i)
        for t, m in enumerate(mask[i]):
            if m:
                q = s if method.ratio_level == "sequence" else token_ratio(new, old, i, t)
                values[i][t] = -clipped(q, A[i], method.clip_low, method.clip_high)
                if method.kl_coef:
                    values[i][t] += method.kl_coef * kl(new[i][t], ref[i][t], method.kl_kind)
    return aggregate(values, mask, method.aggregation, max_tokens, total_rows, total_tokens)


def policy_gradient(
    method, new, old, A, mask, max_tokens, ref=None, total_rows=None, total_tokens=None
):
    """d policy_loss / d new[i][t]. A token moves its own ratio, or 1 / n_i of the one its row
    shares."""
    table = [[0.0] * len(row) for row in mask]
    for i in range(len(A)):
        for t, m in enumerate(mask[i]):
            if not m:
                continue
            w = weight(mask, i, method.aggregation, max_tokens, total_rows, total_tokens)
            if method.ratio_level == "sequence":
                q = sequence_ratio(new, old, mask, i)
                places = length(mask, i)  # the row's n_i tokens all carry this ratio
                dq = sequence_ratio_gradient(new, old, mask, i, t)
            else:
                q = token_ratio(new, old, i, t)
                places = 1
                dq = q
            table[i][t] = (
                -clipped_gradient(q, A[i], method.clip_low, method.clip_high) * dq * w * places
            )
            if method.kl_coef:
                table[i][t] += (
                    method.kl_coef * kl_gradient(new[i][t], ref[i][t], method.kl_kind) * w
                )
    return table


def clip_fraction(method, new, old, A, mask, total_rows=None, total_tokens=None):
    """The share of places where the clip binds: of tokens, or for sequence ratios of rows, empty
    ones too."""
    count = 0
    for i in range(len(A)):
        if method.ratio_level == "sequence":
            count += binds(
                sequence_ratio(new, old, mask, i), A[i], method.clip_low, method.clip_high
            )
        else:
            for t, m in enumerate(mask[i]):
                if m:
                    count += binds(
                        token_ratio(new, old, i, t), A[i], method.clip_low, method.clip_high
                    )
    if method.ratio_level == "sequence":
        return count / (len(A) if total_rows is None else total_rows)
    return count / (sum(sum(row) for row in mask) if total_tokens is None else total_tokens)


# --- the batch on which everything is compared ----------------------------------------------------


@dataclass
class Batch:
    """Tensors in float64, and the same as plain lists for the literal."""

    new: torch.Tensor  # [B, T]
    old: torch.Tensor  # [B, T]
    ref: torch.Tensor  # [B, T]
    advantages: torch.Tensor  # [B]
    mask: torch.Tensor  # [B, T]
    max_tokens: int

    @property
    def lists(self):
        """(new, old, A, mask), the order in which the reference implementations take them."""
        return (
            self.new.tolist(),
            self.old.tolist(),
            self.advantages.tolist(),
            self.mask.long().tolist(),
        )

    def rows(self, which):
        """Some of the rows, for a micro-batch."""
        parts = (self.new, self.old, self.ref, self.advantages, self.mask)
        return Batch(*(part[which] for part in parts), self.max_tokens)


GARBAGE = (float("nan"), float("inf"), float("-inf"), 1e300)


def ragged_batch(seed=0, lengths=(7, 1, 0, 4, 5, 2, 7, 3, 0, 6), drift=0.3, garbage=False):
    """Rows of very different length, two of them empty; advantages of both signs, one exactly 0;
    drift enough for the clip to act on some places. With `garbage`, the padding holds NaN,
    infinities and huge numbers."""
    generator = torch.Generator().manual_seed(seed)
    rows, width = len(lengths), max(lengths)

    def noise(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    mask = (torch.arange(width) < torch.tensor(lengths).unsqueeze(1)).double()
    old = -noise(rows, width).abs() - 0.1
    new = old + drift * noise(rows, width)
    ref = old + drift * noise(rows, width)
    advantages = noise(rows)
    advantages[1::2] = -advantages[1::2].abs()
    advantages[0::2] = advantages[0::2].abs()
    advantages[5] = 0.0
    if garbage:
        junk = torch.tensor(GARBAGE, dtype=torch.float64)
        for k, table in enumerate((new, old, ref)):
            places = torch.arange(rows * width).view(rows, width) + k
            table[mask == 0] = junk[places % len(junk)][mask == 0]
    return Batch(new, old, ref, advantages, mask, max_tokens=width + 5)


def close(actual, expected, tolerance=1e-10):
    """Assert equality of numbers, lists or tensors to `tolerance`, absolute and relative. NaN
    equals none."""
    if isinstance(actual, torch.Tensor):
        actual = actual.detach()
    actual = torch.as_tensor(actual, dtype=torch.float64)
    expected = torch.as_tensor(expected, dtype=torch.float64)
    assert actual.shape == expected.shape, (
        f"shape {tuple(actual.shape)} instead of {tuple(expected.shape)}"
    )
    assert torch.allclose(actual, expected, rtol=tolerance, atol=tolerance), (
        f"{actual} instead of {expected}"
    )
