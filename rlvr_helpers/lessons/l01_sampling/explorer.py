"""The sampler: a number line of what the model can say next, and a needle that chooses.

sampler = next_token()
sampler                      # as a cell's last line it shows itself
sampler.temperature = 0.5    # every value that a reader changes is a trait
"""

import base64
from pathlib import Path

import numpy as np
import torch
import traitlets
from torch import Tensor

from rlvr_helpers.kit.recorded import FourRollouts, four_rollouts
from rlvr_helpers.models import Policy, load_policy
from rlvr_helpers.plots.house import BLUE, INK
from rlvr_helpers.sampling import pick_tokens
from rlvr_helpers.widgets.live import LiveExplorer, Still, svg_text, value
from rlvr_helpers.widgets.words import SAMPLER

UNIT = 0.001  # nats: log-probs travel to the page as whole numbers of it
NOISE = 0.62  # that the explorer opens with


class Sampler(LiveExplorer):
    """Its traits are what a reader changes.

    prefix:      token ids of the sentence so far
    noise:       from 0 to 1, where the needle stands
    temperature: 0.1 to 2
    more:        the prefix that the kernel was asked about last, and its log-probs as text
    """

    script = Path(__file__).with_name("explorer.js")
    prefix = value(traitlets.List(traitlets.Int()))
    noise = value(traitlets.Float(NOISE, min=0.0, max=0.9999))
    temperature = value(traitlets.Float(1.0, min=0.1, max=2.0))
    more = value(traitlets.List(default_value=["", ""]))

    def __init__(
        self, policy: Policy, prompt_ids: Tensor, data: dict, still: Still, **values: object
    ) -> None:
        self.policy = policy
        self.prompt_ids = prompt_ids
        # The page has what follows these prefixes. For others it asks the model here.
        self.known = {prefix for prefix, _ in data["nodes"]}
        super().__init__(data, SAMPLER, still, **values)
        self.observe(self.ask, "prefix")

    def ask(self, _: object = None) -> None:
        """Asks the model what comes after the sentence, unless that was recorded."""
        name = " ".join(map(str, self.prefix))
        if name not in self.known:
            row = next_logprobs(self.policy, self.prompt_ids, self.prefix)[-1]
            self.more = [name, packed(row)]


def next_token() -> Sampler:
    """The sampler on the prompt of the four rollouts. What follows each of their beginnings is
    recorded."""
    policy = load_policy("tiny")
    four = four_rollouts()
    prompt = four.prompt_ids[0]
    data = {
        "question": four.question,
        "answer": four.answer,
        "vocabulary": policy.tokenizer.convert_ids_to_tokens(list(range(len(policy.tokenizer)))),
        "ends": list(policy.end_ids),
        "budget": four.max_tokens,
        "nodes": recorded_nodes(policy, four),
    }
    # Open after the first tag.
    first = four.completion_ids[0, :1].tolist()
    picture = still(next_logprobs(policy, prompt, first)[-1], data["vocabulary"])
    return Sampler(policy, prompt, data, still=picture, prefix=first)


@torch.no_grad()
def next_logprobs(policy: Policy, prompt_ids: Tensor, tokens: list[int]) -> Tensor:
    """Log-probs of the next token after the prompt and after each token of a completion,
    [len(tokens) + 1, V], in nats."""
    ids = torch.cat([prompt_ids, torch.tensor(tokens, dtype=prompt_ids.dtype)])[None]
    logits = policy.model(input_ids=ids.to(policy.device), use_cache=False).logits[0].cpu()
    return logits[len(prompt_ids) - 1 :].double().log_softmax(dim=-1)


def recorded_nodes(policy: Policy, four: FourRollouts) -> list[tuple[str, str]]:
    """Every beginning of the four rollouts, as token ids with blanks, with the log-probs after it,
    as text."""
    found = {}
    for row, length in zip(four.completion_ids.tolist(), four.lengths.tolist(), strict=True):
        # Nothing follows the last token, so it begins nothing.
        tokens = row[: length - 1]
        logprobs = next_logprobs(policy, four.prompt_ids[0], tokens)
        for t in range(1, length):
            found[" ".join(map(str, tokens[:t]))] = packed(logprobs[t])
    return list(found.items())


def packed(logprobs: Tensor) -> str:
    """Log-probs [V] as base64 of 16-bit whole numbers of UNIT."""
    # 16 bits reach down to -32.768 nats, a probability of 6e-15.
    whole = (logprobs / UNIT).round().clamp(min=-32768)
    return base64.b64encode(whole.numpy().astype(np.int16).tobytes()).decode()


def still(logprobs: Tensor, vocabulary: list[str]) -> Still:
    """The number line after the first tag, and the needle where the explorer opens."""
    # Draw the eight likeliest words as pieces of the line, each with its name if it fits.
    p = logprobs.exp()
    starts = p.cumsum(dim=0) - p
    shapes = []
    for token in p.topk(8).indices.tolist():
        x = 10 + 740 * starts[token].item()
        width = 740 * p[token].item()
        shapes.append(
            f'<rect x="{x:.0f}" y="34" width="{max(width - 1, 1):.0f}" height="40" fill="{BLUE}"'
            ' opacity="0.35"/>'
        )
        if width > 9 * len(vocabulary[token]):
            shapes.append(svg_text(x + width / 2, 59, vocabulary[token]))

    # Draw the needle and the axis.
    at = 10 + 740 * NOISE
    shapes.append(f'<path d="M{at:.0f} 78V24l-7 -12h14l-7 12" stroke="{INK}" stroke-width="2"/>')
    shapes.append(f'<path d="M10 80h740" stroke="{INK}"/>')
    shapes += [svg_text(10 + 740 * x, 97, f"{x:g}") for x in (0.02, 0.5, 0.98)]
    token = pick_tokens(logprobs[None], torch.tensor([NOISE]), temperature=1.0)[0].item()
    alt = SAMPLER["alt"].format(noise=NOISE, token=vocabulary[token], share=f"{100 * p[token]:.0f}")
    return Still.of(shapes, 760, 104, alt=alt, description=SAMPLER["still"])
