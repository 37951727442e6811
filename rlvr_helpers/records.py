"""What a training step showed, as plain numbers that fit in a JSON file."""

import warnings
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from rlvr_helpers.engine.json_files import typed
from rlvr_helpers.evaluation import Evaluation, Reading
from rlvr_helpers.losses import kl_estimate
from rlvr_helpers.methods import Method
from rlvr_helpers.minibatches import MicroBatch, MiniBatch, Update
from rlvr_helpers.sampling import Rollout

# The quantiles that are kept, and the bins of a histogram.
LEVELS = (0.0, 0.01, 0.05, 0.16, 0.25, 0.5, 0.75, 0.84, 0.95, 0.99, 1.0)
BINS = 60


@dataclass(frozen=True)
class Distribution:
    """A sample of numbers as mean, standard deviation, quantiles (at LEVELS) and a histogram.

    The histogram has BINS equal bins between low and high, which are the 0.1 % and 99.9 %
    quantiles. What lies outside is counted in the end bins.
    """

    count: int
    mean: float
    std: float
    quantiles: list[float]
    low: float
    high: float
    counts: list[int]

    @classmethod
    def of(cls, parts: list[Tensor]) -> "Distribution | None":
        """The distribution of all numbers in some tensors. None if there are none."""
        values = torch.cat([part.flatten() for part in parts]).double() if parts else torch.empty(0)
        if not len(values):
            return None
        ordered = values.sort().values

        def quantile(level: float) -> float:
            return ordered[round(level * (len(ordered) - 1))].item()

        # A few far numbers must not squeeze all others into one bin.
        low = quantile(0.001)
        high = quantile(0.999)
        counts = torch.histc(
            values.clamp(low, high), bins=BINS, min=low, max=high if high > low else low + 1e-12
        )
        std = values.std(correction=0).item()
        quantiles = [quantile(level) for level in LEVELS]
        return cls(
            count=len(values),
            mean=values.mean().item(),
            std=std,
            quantiles=quantiles,
            low=low,
            high=high,
            counts=[int(count) for count in counts],
        )

    def share_outside(self, low: float, high: float) -> float:
        """Share of the numbers below `low` or above `high`, from the histogram (linear within a
        bin)."""
        width = (self.high - self.low) / BINS

        def below(x: float) -> float:
            if width <= 0:
                return float(self.low < x)
            # Whole bins below x, and a share of the bin that x lies in.
            position = min(max((x - self.low) / width, 0.0), float(BINS))
            whole = int(position)
            part = (position - whole) * self.counts[whole] if whole < BINS else 0.0
            return (sum(self.counts[:whole]) + part) / self.count

        return below(low) + 1 - below(high)


@dataclass(frozen=True)
class StepRecord:
    """One step: a rollout and its updates. Shares lie in 0 to 1, lengths are tokens, entropy and KL
    nats per token.

    loss, grad_norm, clip_*:  mean over the step's updates. Clip fractions count `clip_unit`,
                              clip_low those that bind below the range (A < 0) and clip_high above
                              it (A > 0)
    clip_fraction_first:      before the first update of the rollout: 0 unless log-probs are not
                              reproduced exactly
    reward_std:               within a group, averaged over groups
    no_signal:                share of groups whose rewards are all equal
    accuracy, lenient_accuracy, format_rate, length_*: of this rollout's sampled completions
    entropy:                  of the policy that sampled, over the completions that are trained on:
                              those of groups with a signal, unless the method has a KL term
    token_log_ratio, sequence_log_ratio: log-ratios of the same completions in the last pass over
                              the rollout, at both levels whatever the method
    kl:                       to the start model (k3). Without a KL term in the loss it comes from
                              one mini-batch. None: not measured
    sampler_gap:              largest difference between the log-probs of decoding and those of
                              training
    updates, skipped:         optimizer steps, and those of them that float16's loss scaling left
                              out
    tokens, total_tokens:     generated in this step, and since the start
    seconds:                  by part: generate, score, forward, backward, optimizer, evaluate
    parts:                    mean over the rollout of each number that a scorer of your own named
    eval, start_eval:         on the held-out problems: after this step, and (first record only)
                              before training
    reading, start_reading:   completions of the first held-out problem, at the same steps
    """

    step: int
    loss: float
    reward_mean: float
    reward_std: float
    no_signal: float
    accuracy: float
    lenient_accuracy: float
    format_rate: float
    length_mean: float
    length_right: float | None
    length_wrong: float | None
    truncated: float
    clip_unit: str
    clip_fraction: float | None
    clip_low: float | None
    clip_high: float | None
    clip_fraction_first: float | None
    token_log_ratio: Distribution | None
    sequence_log_ratio: Distribution | None
    entropy: float | None
    kl: float | None
    sampler_gap: float
    grad_norm: float
    updates: int
    tokens: int
    total_tokens: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    eval: Evaluation | None = None
    start_eval: Evaluation | None = None
    skipped: int = 0
    parts: dict[str, float] = field(default_factory=dict)
    reading: Reading | None = None
    start_reading: Reading | None = None

    def to_dict(self) -> dict:
        """Plain numbers, lists and dicts. `StepRecord.from_dict` reads them."""
        data = asdict(self)
        # Left out if empty: most runs have none of these.
        for name in ("parts", "reading", "start_reading"):
            if not data[name]:
                del data[name]
        for name in ("eval", "start_eval"):
            data[name] = getattr(self, name).to_dict() if getattr(self, name) else None
        return data

    @classmethod
    def from_dict(cls, data: dict) -> "StepRecord":
        """Raises ValueError on data that are no record."""
        record = typed(cls, data)
        for ratio in (record.token_log_ratio, record.sequence_log_ratio):
            if ratio and (len(ratio.quantiles), len(ratio.counts)) != (len(LEVELS), BINS):
                raise ValueError(
                    f"a Distribution must have {len(LEVELS)} quantiles and {BINS} bins"
                )
        return record


def read_records(data: list[dict]) -> list[StepRecord]:
    """The records of a run, from step 1 on. Raises ValueError if they are none, or one is
    missing."""
    if not isinstance(data, list) or not data:
        raise ValueError("it holds no records")
    # Each record by itself, then that none is missing.
    records = [StepRecord.from_dict(record) for record in data]
    if [record.step for record in records] != list(range(1, len(records) + 1)):
        raise ValueError("its records are not those of step after step")
    return records


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def mean_or_none(values: list[float | None]) -> float | None:
    """The mean. None if one of the values was not measured."""
    return None if None in values else mean(values)


def token_mean(values: list[Tensor], micro: list[MicroBatch]) -> float | None:
    """The mean over all tokens of some micro-batches. None if they have none."""
    tokens = sum(int(m.mask.sum()) for m in micro)
    return float(sum(v.sum() for v in values)) / tokens if tokens else None


def kl_to_start(micro: list[MicroBatch]) -> float | None:
    """The mean KL to the start model in nats per token, from micro-batches that were scored by
    it."""
    return token_mean([kl_estimate(m.logp_old, m.logp_ref, "k3") * m.mask for m in micro], micro)


def summarise(
    step: int,
    rollout: Rollout,
    verdict: Evaluation,
    rewards: Tensor,
    minibatches: list[MiniBatch],
    updates: list[Update],
    method: Method,
    no_signal: Tensor,
) -> StepRecord:
    """The record of a step: what a practitioner watches, under its standard name."""
    lengths = rollout.lengths.float().cpu()
    correct = torch.tensor(verdict.strict)
    # The ratios of the last pass over the rollout have moved furthest.
    last_pass = updates[-len(minibatches) :]
    micro = [m for minibatch in minibatches for m in minibatch.micro]
    return StepRecord(
        # The objective and its rewards.
        step=step,
        loss=mean([u.loss for u in updates]),
        reward_mean=rewards.mean().item(),
        reward_std=rewards.std(dim=1).mean().item(),
        no_signal=no_signal.float().mean().item(),
        # How the completions of this rollout are.
        accuracy=verdict.accuracy,
        lenient_accuracy=verdict.lenient_accuracy,
        format_rate=verdict.format_rate,
        length_mean=lengths.mean().item(),
        length_right=lengths[correct].mean().item() if correct.any() else None,
        length_wrong=lengths[~correct].mean().item() if not correct.all() else None,
        truncated=rollout.truncated.float().mean().item(),
        # How far the policy has moved.
        clip_unit=method.clip_unit,
        clip_fraction=mean_or_none([u.clip_fraction for u in updates]),
        clip_low=mean_or_none([u.clip_low for u in updates]),
        clip_high=mean_or_none([u.clip_high for u in updates]),
        clip_fraction_first=updates[0].clip_fraction,
        token_log_ratio=Distribution.of([r for u in last_pass for r in u.token_log_ratios]),
        sequence_log_ratio=Distribution.of([r for u in last_pass for r in u.sequence_log_ratios]),
        entropy=token_mean([m.entropy for m in micro], micro),
        kl=kl_to_start([m for m in micro if m.logp_ref is not None]),
        # How sound the updates are, and what they cost.
        sampler_gap=max((m.sampler_gap for m in micro), default=0.0),
        grad_norm=mean([u.grad_norm for u in updates if not u.skipped] or [0.0]),
        updates=len(updates),
        skipped=sum(u.skipped for u in updates),
        tokens=int(rollout.mask.sum()),
        parts=verdict.part_means,
    )


def warn_of_early_clip(record: StepRecord) -> None:
    """Warns if ratios differ from 1 before the first update."""
    if record.clip_fraction_first:
        warnings.warn(
            f"step {record.step}: before the first update {record.clip_fraction_first:.2%} of"
            f" {record.clip_unit} are clipped already, since log-probs are not reproduced exactly"
            " here. Compare the clip fraction with that",
            stacklevel=4,
        )
