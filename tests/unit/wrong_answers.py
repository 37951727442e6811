"""Wrong answers as learners write them, eight or more for each exercise, and what
`check` is to call each of them.

None of them is in the lists of mistakes: they are other ways to make one of them, or two mistakes
at once. They were written before the lists were revised. `answers["name"]` holds pairs: the names
of the mistakes that would be the right advice, separated by "|", and the function.
"""

import math
import re
from decimal import Decimal, InvalidOperation

import numpy as np
import torch
import torch.nn.functional as F

from rlvr_helpers.advantages import group_advantages, groups_without_signal
from rlvr_helpers.clipping import clipped_objective
from rlvr_helpers.losses import aggregate, kl_estimate, policy_loss
from rlvr_helpers.ratios import sequence_ratios, token_ratios
from rlvr_helpers.rewards import parse_number

ANSWERS: dict[str, list[tuple]] = {}


def wrong(exercise: str, advice: str):
    """Files a function under its exercise."""
    return lambda function: ANSWERS.setdefault(exercise, []).append((advice, function)) or function


# --- pick_tokens


@wrong("pick_tokens", "own random numbers")
def _(logits, noise, temperature):
    p = torch.softmax(logits / temperature, dim=-1)
    tokens = torch.multinomial(p, num_samples=1)
    return tokens.squeeze(-1), torch.log(p.gather(-1, tokens)).squeeze(-1)


@wrong("pick_tokens", "cumulated over the rows")
def _(logits, noise, temperature):
    logp = (logits / temperature).log_softmax(-1)
    tokens = (logp.exp().cumsum(0) <= noise.unsqueeze(1)).sum(-1).clamp(max=logits.size(-1) - 1)
    return tokens, logp[torch.arange(len(logp)), tokens]


@wrong("pick_tokens", "reaching is not passing")
def _(logits, noise, temperature):
    p = F.softmax(logits / temperature, dim=1)
    tokens = (p.cumsum(1) >= noise.view(-1, 1)).float().argmax(dim=1)
    return tokens, p.log().gather(1, tokens.view(-1, 1)).view(-1)


@wrong("pick_tokens", "probabilities")
def _(logits, noise, temperature):
    p = F.softmax(logits / temperature, dim=1)
    tokens, probs = [], []
    for row, n in zip(p, noise, strict=True):
        total, token = 0.0, 0
        while total + row[token] <= n:
            total += row[token]
            token += 1
        tokens.append(token)
        probs.append(row[token])
    return torch.tensor(tokens), torch.stack(probs)


@wrong("pick_tokens", "the best token")
def _(logits, noise, temperature):
    logp = F.log_softmax(logits / temperature, dim=-1)
    tokens = logits.argmax(dim=-1)
    return tokens, logp.gather(1, tokens[:, None])[:, 0]


@wrong("pick_tokens", "temperature forgotten")
def _(logits, noise, temperature=1.0):
    logp = torch.log_softmax(logits, dim=-1)
    tokens = torch.searchsorted(logp.exp().cumsum(-1), noise[:, None], right=True).squeeze(1)
    return tokens, logp.gather(1, tokens[:, None]).squeeze(1)


@wrong("pick_tokens", "all log-probs")
def _(logits, noise, temperature):
    logp = F.log_softmax(logits / temperature, dim=-1)
    return (logp.exp().cumsum(-1) <= noise[:, None]).sum(-1), logp


@wrong("pick_tokens", "one token early")
def _(logits, noise, temperature):
    logp = F.log_softmax(logits / temperature, dim=-1)
    tokens = ((logp.exp().cumsum(-1) < noise[:, None]).sum(-1) - 1).clamp(min=0)
    return tokens, logp.gather(1, tokens[:, None]).squeeze(1)


# --- mask_after_end


@wrong("mask_after_end", "up to the second end")
def _(ids, end_ids):
    ends = sum((ids == e).long() for e in end_ids)
    return (torch.cumsum(ends, dim=1) <= 1).to(torch.long)


@wrong("mask_after_end", "without the end token|one kind of end token")
def _(ids, end_ids):
    return (ids != end_ids[0]).long().cumprod(dim=1)


@wrong("mask_after_end", "without the end token")
def _(ids, end_ids):
    mask = torch.ones_like(ids)
    for row in range(len(ids)):
        for t, token in enumerate(ids[row].tolist()):
            if token in end_ids:
                mask[row, t:] = 0
                break
    return mask


@wrong("mask_after_end", "guessed from the pad token")
def _(ids, end_ids):
    return torch.where(ids == 0, 0, 1)


@wrong("mask_after_end", "one kind of end token")
def _(ids, end_ids):
    is_end = ids == end_ids[0]
    return (is_end.cumsum(dim=1) - is_end.long() == 0).long()


@wrong("mask_after_end", "a row without an end")
def _(ids, end_ids):
    first = torch.isin(ids, torch.tensor(end_ids)).int().argmax(dim=1)
    return (torch.arange(ids.shape[1]) <= first[:, None]).long()


@wrong("mask_after_end", "floats")
def _(ids, end_ids):
    is_end = torch.isin(ids, torch.tensor(end_ids)).float()
    return (is_end.cumsum(dim=1) - is_end == 0).float()


@wrong("mask_after_end", "0 and 1 exchanged")
def _(ids, end_ids):
    is_end = torch.isin(ids, torch.tensor(end_ids)).long()
    return (is_end.cumsum(dim=1) - is_end).clamp(max=1)


# --- logprobs_from_logits


@wrong("logprobs_from_logits", "not shifted")
def _(logits, ids, mask, temperature=1.0):
    logp = (logits[:, 1:].float() / temperature).log_softmax(dim=-1)
    return torch.gather(logp, 2, ids.unsqueeze(2)).squeeze(2).masked_fill(mask == 0, 0.0)


@wrong("logprobs_from_logits", "log of softmax")
def _(logits, ids, mask, temperature=1.0):
    p = F.softmax(logits[:, :-1].float() / temperature, dim=-1)
    return torch.log(p.gather(2, ids[:, :, None]).squeeze(2)) * mask


@wrong("logprobs_from_logits", "padding kept")
def _(logits, ids, mask, temperature=1.0):
    scaled = logits[:, : ids.shape[1]].float() / temperature
    return scaled.gather(2, ids[..., None]).squeeze(2) - scaled.logsumexp(dim=2)


@wrong("logprobs_from_logits", "temperature forgotten")
def _(logits, ids, mask, temperature=1.0):
    nll = F.cross_entropy(logits[:, :-1].float().transpose(1, 2), ids, reduction="none")
    return -nll * mask


@wrong("logprobs_from_logits", "the other sign")
def _(logits, ids, mask, temperature=1.0):
    scaled = logits[:, :-1].float() / temperature
    return F.cross_entropy(scaled.transpose(1, 2), ids, reduction="none") * mask


@wrong("logprobs_from_logits", "softmax over positions")
def _(logits, ids, mask, temperature=1.0):
    logp = F.log_softmax(logits[:, :-1].float() / temperature, 1)
    return logp.gather(-1, ids[..., None])[..., 0] * mask


@wrong("logprobs_from_logits", "low precision")
def _(logits, ids, mask, temperature=1.0):
    logp = torch.log_softmax(logits[:, :-1] / temperature, dim=-1)
    return logp.gather(2, ids[:, :, None]).squeeze(2) * mask


@wrong("logprobs_from_logits", "added up over the row")
def _(logits, ids, mask, temperature=1.0):
    logp = F.log_softmax(logits[:, :-1].float() / temperature, dim=-1)
    return (logp.gather(-1, ids[..., None]).squeeze(-1) * mask).sum(dim=1)


# --- extract_answer


@wrong("extract_answer", "first block")
def _(text):
    match = re.search(r"<answer>(.*?)</answer>", text, flags=re.S)
    return None if match is None else match.group(1).strip()


@wrong("extract_answer", "last block")
def _(text):
    end = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, end)
    return text[start + 8 : end].strip() if start >= 0 and end >= 0 else None


@wrong("extract_answer", "one line only")
def _(text):
    blocks = [b.strip() for b in re.findall("<answer>(.*?)</answer>", text)]
    if len({parse_number(b) or b for b in blocks}) != 1:
        return None
    return blocks[0]


@wrong("extract_answer", "greedy across two blocks")
def _(text):
    start, end = text.find("<answer>"), text.rfind("</answer>")
    if start == -1 or end == -1:
        return None
    return text[start + len("<answer>") : end].strip()


@wrong("extract_answer", "not stripped")
def _(text):
    blocks = re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)
    if not blocks or any("<answer>" in b for b in blocks):
        return None
    return blocks[0] if len({parse_number(b) or b.strip() for b in blocks}) == 1 else None


@wrong("extract_answer", "blocks compared as texts")
def _(text):
    blocks = [b.strip() for b in re.findall(r"<answer>([^<]*)</answer>", text)]
    if not blocks or blocks.count(blocks[0]) < len(blocks):
        return None
    return blocks[0]


@wrong("extract_answer", "the number instead of the text")
def _(text):
    found = [parse_number(b) for b in re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)]
    return found[0] if len(set(found)) == 1 else None


@wrong("extract_answer", "unclosed tag accepted|last block")
def _(text):
    if "<answer>" not in text:
        return None
    answer = text.split("<answer>")[-1]
    return answer.split("</answer>")[0].strip()


# --- answers_match


@wrong("answers_match", "floats compared")
def _(predicted, gold):
    try:
        return float(predicted.replace(",", "").strip("$%")) == float(gold.replace(",", ""))
    except (ValueError, AttributeError):
        return False


@wrong("answers_match", "first number")
def _(predicted, gold):
    match = re.search(r"[-+]?\d[\d,]*(\.\d+)?", predicted or "")
    return match is not None and Decimal(match.group().replace(",", "")) == Decimal(
        gold.replace(",", "")
    )


def _by_match(text):
    found = re.match(
        r"([+-]?)\$?([0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(\.[0-9]+)?( ?%|( [a-z]+)*)$", text or ""
    )
    return Decimal("".join(p or "" for p in found.groups()[:3]).replace(",", "")) if found else None


@wrong("answers_match", "$ for fullmatch")
def _(predicted, gold):
    value = _by_match(predicted)
    return value is not None and value == _by_match(gold)


@wrong("answers_match", "texts compared")
def _(predicted, gold):
    return predicted is not None and predicted.strip() == gold.strip()


@wrong("answers_match", "all commas dropped|Decimal reads more")
def _(predicted, gold):
    try:
        value = Decimal(predicted.lstrip("$").rstrip("%").replace(",", ""))
        return value == Decimal(gold.replace(",", ""))
    except (InvalidOperation, AttributeError):
        return False


@wrong("answers_match", "last number")
def _(predicted, gold):
    numbers = re.findall(r"\d+(?:\.\d+)?", (predicted or "").replace(",", ""))
    return len(numbers) > 0 and float(numbers[-1]) == float(gold.replace(",", ""))


@wrong("answers_match", "one of the words")
def _(predicted, gold):
    return gold in predicted.split() if predicted else False


@wrong("answers_match", "float tolerance")
def _(predicted, gold):
    try:
        numbers = [float(re.sub(r"[^0-9.+-]", "", t)) for t in (predicted, gold)]
    except (ValueError, TypeError):
        return False
    return abs(numbers[0] - numbers[1]) < 1e-6


# --- format_reward


@wrong("format_reward", "match as in R1|one line only")
def _(text):
    return 1.0 if re.match(r"^<reasoning>.*?</reasoning>\s*<answer>.*?</answer>$", text) else 0.0


@wrong("format_reward", "search instead of fullmatch")
def _(text):
    return float(
        re.search(r"<reasoning>.+</reasoning>.*<answer>.+</answer>", text, re.S) is not None
    )


@wrong("format_reward", "each tag once, in any order")
def _(text):
    tags = ["<reasoning>", "</reasoning>", "<answer>", "</answer>"]
    return 1.0 if [text.count(t) for t in tags] == [1, 1, 1, 1] else 0.0


@wrong("format_reward", "order only")
def _(text):
    places = [text.find(t) for t in ("<reasoning>", "</reasoning>", "<answer>", "</answer>")]
    return float(min(places) >= 0 and places == sorted(places))


@wrong("format_reward", "only looks at both ends")
def _(text):
    text = text.strip()
    return float(text.startswith("<reasoning>") and text.endswith("</answer>"))


@wrong("format_reward", "True or False")
def _(text):
    match = re.fullmatch(r"\s*<reasoning>([^<]+)</reasoning>\s*<answer>([^<]+)</answer>\s*", text)
    return bool(match and match[1].strip() and match[2].strip())


@wrong("format_reward", "blank accepted")
def _(text):
    return float(
        bool(re.fullmatch(r"\s*<reasoning>[^<]*</reasoning>\s*<answer>[^<]*</answer>\s*", text))
    )


@wrong("format_reward", "partial credit")
def _(text):
    reward = 0.0
    if re.search(r"<reasoning>.+?</reasoning>", text, re.DOTALL):
        reward += 0.5
    if re.search(r"<answer>.+?</answer>", text, re.DOTALL):
        reward += 0.5
    return reward


# --- groups_without_signal


@wrong("groups_without_signal", "a tolerance")
def _(rewards):
    return rewards.std(dim=1) < 1e-6


@wrong("groups_without_signal", "a tolerance")
def _(rewards):
    return torch.isclose(rewards, rewards[:, :1]).all(dim=1)


@wrong("groups_without_signal", "only all wrong")
def _(rewards):
    return rewards.sum(dim=1) == 0


@wrong("groups_without_signal", "only all right or all wrong")
def _(rewards):
    total = rewards.sum(dim=1)
    return (total == 0) | (total == rewards.shape[1])


@wrong("groups_without_signal", "only some rewards compared")
def _(rewards):
    return (rewards[:, 0] == rewards[:, 1]) & (rewards[:, 1] == rewards[:, -1])


@wrong("groups_without_signal", "any in place of all")
def _(rewards):
    return (rewards == rewards[:, :1]).any(dim=1)


@wrong("groups_without_signal", "whether the std is 0")
def _(rewards):
    return rewards.var(dim=1, correction=0) == 0


@wrong("groups_without_signal", "one value for the batch")
def _(rewards):
    return (rewards == rewards[:, :1]).all()


# --- group_advantages


@wrong("group_advantages", "mean over the batch|mean and std over the batch")
def _(rewards, scale="std"):
    centred = rewards - rewards.mean()
    if scale == "std":
        return centred / (rewards.std() + 1e-4)
    return centred if scale == "none" else centred * rewards.numel() / (rewards.numel() - 1)


@wrong("group_advantages", "biased std")
def _(rewards, scale="std"):
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    std = centred.square().mean(dim=1, keepdim=True).sqrt()
    if scale == "std":
        return centred / (std + 1e-4)
    return centred if scale == "none" else centred * rewards.shape[1] / (rewards.shape[1] - 1)


@wrong("group_advantages", "another epsilon")
def _(rewards, scale="std"):
    out = rewards - rewards.mean(1, keepdim=True)
    if scale == "std":
        out = out / (rewards.std(1, keepdim=True) + 1e-8)
    if scale == "leave_one_out":
        out = out * rewards.shape[1] / (rewards.shape[1] - 1)
    return torch.where((rewards == rewards[:, :1]).all(1, keepdim=True), 0.0, out)


@wrong("group_advantages", "leave_one_out divided by G")
def _(rewards, scale="std"):
    size, total = rewards.shape[1], rewards.sum(dim=1, keepdim=True)
    out = rewards - (total - rewards) / size if scale == "leave_one_out" else rewards - total / size
    if scale == "std":
        out = out / (rewards.std(dim=1, keepdim=True) + 1e-4)
    return out.masked_fill(groups_without_signal(rewards)[:, None], 0.0)


@wrong("group_advantages", "rounding errors kept")
def _(rewards, scale="std"):
    mean = rewards.mean(dim=1, keepdim=True)
    if scale == "leave_one_out":
        return rewards - (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    return (
        (rewards - mean) / (rewards.std(dim=1, keepdim=True) + 1e-4)
        if scale == "std"
        else rewards - mean
    )


@wrong("group_advantages", "always divided by the std")
def _(rewards, scale="std"):
    advantages = torch.zeros_like(rewards)
    for i, row in enumerate(rewards):
        if row.max() != row.min():
            advantages[i] = (row - row.mean()) / (row.std() + 1e-4)
    return advantages


@wrong("group_advantages", "leave_one_out divided by the std")
def _(rewards, scale="std"):
    out = rewards - rewards.mean(dim=1, keepdim=True)
    if scale == "leave_one_out":
        out = out * rewards.shape[1] / (rewards.shape[1] - 1)
    if scale != "none":
        out = out / (rewards.std(dim=1, keepdim=True) + 1e-4)
    return out.masked_fill(groups_without_signal(rewards)[:, None], 0.0)


@wrong("group_advantages", "rounding errors kept|rounding errors kept beside std")
def _(rewards, scale="std"):
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    if scale == "none":
        return centred
    if scale == "leave_one_out":
        return centred * rewards.shape[1] / (rewards.shape[1] - 1)
    out = centred / (rewards.std(dim=1, keepdim=True) + 1e-4)
    return out.masked_fill(groups_without_signal(rewards)[:, None], 0.0)


@wrong("group_advantages", "whether the std is 0|rounding errors kept")
def _(rewards, scale="std"):
    centred, std = rewards - rewards.mean(1, keepdim=True), rewards.std(1, keepdim=True)
    if scale == "std":
        centred = centred / (std + 1e-4)
    if scale == "leave_one_out":
        centred = centred * rewards.shape[1] / (rewards.shape[1] - 1)
    return torch.where(std == 0, 0.0, centred)


# --- problem_weight


def _group(right, group_size):
    return torch.tensor([[1.0] * right + [0.0] * (group_size - right)])


@wrong("problem_weight", "signs cancel")
def _(right, group_size, scale="std"):
    return group_advantages(_group(right, group_size), scale).sum().item()


@wrong("problem_weight", "mean instead of sum")
def _(right, group_size, scale="std"):
    return float(group_advantages(_group(right, group_size), scale).abs().mean())


@wrong("problem_weight", "only the correct answers")
def _(right, group_size, scale="std"):
    return group_advantages(_group(right, group_size), scale)[0, :right].sum().item()


@wrong("problem_weight", "scale ignored")
def _(right, group_size, scale="std"):
    rewards = torch.tensor([[float(i < right) for i in range(group_size)]])
    return group_advantages(rewards, "std").abs().sum().item()


@wrong("problem_weight", "biased std")
def _(right, group_size, scale="std"):
    p = right / group_size
    if right in (0, group_size):
        return 0.0
    weight = 2 * right * (1 - p)
    if scale == "leave_one_out":
        return weight * group_size / (group_size - 1)
    return weight / (p * (1 - p)) ** 0.5 if scale == "std" else weight


@wrong("problem_weight", "a tensor")
def _(right, group_size, scale="std"):
    return group_advantages(_group(right, group_size), scale).abs().sum()


@wrong("problem_weight", "the length")
def _(right, group_size, scale="std"):
    return group_advantages(_group(right, group_size), scale).norm().item()


@wrong("problem_weight", "the mean alone taken off|scale ignored")
def _(right, group_size, scale="std"):
    rewards = _group(right, group_size)
    return (rewards - rewards.mean()).abs().sum().item()


# --- score_function_gradient


@wrong("score_function_gradient", "only the taken arm's entry")
def _(logits, actions, advantages):
    p, gradient = logits.softmax(0), torch.zeros_like(logits)
    for a, adv in zip(actions, advantages, strict=True):
        gradient[a] += adv * (1 - p[a])
    return gradient / len(actions)


@wrong("score_function_gradient", "no normaliser")
def _(logits, actions, advantages):
    gradient = torch.zeros_like(logits)
    for a, adv in zip(actions.tolist(), advantages, strict=True):
        gradient[a] += adv / len(actions)
    return gradient


@wrong("score_function_gradient", "sum in place of mean")
def _(logits, actions, advantages):
    scores = F.one_hot(actions, len(logits)) - torch.softmax(logits, dim=-1)
    return advantages @ scores


@wrong("score_function_gradient", "sign forgotten")
def _(logits, actions, advantages):
    leaf = logits.clone().requires_grad_()
    loss = -(advantages * leaf.log_softmax(dim=0)[actions]).mean()
    loss.backward()
    return leaf.grad


@wrong("score_function_gradient", "probability instead of log-probability")
def _(logits, actions, advantages):
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad((advantages * leaf.softmax(dim=0)[actions]).mean(), leaf)[0]


@wrong("score_function_gradient", "one number")
def _(logits, actions, advantages):
    scores = F.one_hot(actions, len(logits)) - logits.softmax(dim=0)
    return (advantages[:, None] * scores).mean()


@wrong("score_function_gradient", "one row a sample")
def _(logits, actions, advantages):
    scores = F.one_hot(actions, len(logits)) - logits.softmax(dim=0)
    return advantages[:, None] * scores


@wrong("score_function_gradient", "advantages along the arms")
def _(logits, actions, advantages):
    scores = F.one_hot(actions, len(logits)) - logits.softmax(dim=0)
    return (advantages * scores).mean(dim=0)


# --- surrogate_loss


@wrong("surrogate_loss", "mean over all tokens")
def _(logp, advantages, mask):
    return -(advantages[:, None] * logp * mask).sum() / mask.sum()


@wrong("surrogate_loss", "mean over the row's tokens")
def _(logp, advantages, mask):
    means = (logp * mask).sum(dim=1) / mask.sum(dim=1)
    return -(advantages * means.nan_to_num()).mean()


@wrong("surrogate_loss", "padding left in")
def _(logp, advantages, mask):
    return -(advantages.unsqueeze(1) * logp).sum(dim=1).mean()


@wrong("surrogate_loss", "sign forgotten")
def _(logp, advantages, mask):
    total = 0
    for i in range(len(logp)):
        total = total + advantages[i] * logp[i][mask[i].bool()].sum()
    return total / len(logp)


@wrong("surrogate_loss", "mean over padding")
def _(logp, advantages, mask):
    return -(advantages[:, None] * torch.where(mask == 1, logp, 0.0)).mean()


@wrong("surrogate_loss", "sum in place of mean")
def _(logp, advantages, mask):
    return -torch.dot(advantages, (logp * mask).sum(1))


@wrong("surrogate_loss", "probability instead of log-probability")
def _(logp, advantages, mask):
    return -torch.mean(torch.exp((logp * mask).sum(-1)) * advantages)


@wrong("surrogate_loss", "not averaged")
def _(logp, advantages, mask):
    return -advantages * (logp * mask).sum(dim=1)


# --- token_ratios


@wrong("token_ratios", "ratio times the mask")
def _(logp_new, logp_old, mask):
    return torch.exp(logp_new - logp_old.detach()) * mask


@wrong("token_ratios", "masked after exp")
def _(logp_new, logp_old, mask):
    ratios = torch.exp(logp_new - logp_old.detach())
    return ratios.masked_fill(mask == 0, 1.0)


@wrong("token_ratios", "old log-probs not detached")
def _(logp_new, logp_old, mask):
    return torch.exp((logp_new - logp_old).masked_fill(mask == 0, 0.0))


@wrong("token_ratios", "upside down")
def _(logp_new, logp_old, mask):
    return torch.exp(
        torch.where(mask == 1, logp_old.detach() - logp_new, torch.zeros_like(logp_new))
    )


@wrong("token_ratios", "difference times the mask")
def _(logp_new, logp_old, mask):
    return torch.exp(logp_new * mask - logp_old.detach() * mask)


@wrong("token_ratios", "log-probs divided")
def _(logp_new, logp_old, mask):
    ratios = torch.ones_like(logp_new)
    ratios[mask.bool()] = logp_new[mask.bool()] / logp_old[mask.bool()].detach()
    return ratios


@wrong("token_ratios", "detached")
def _(logp_new, logp_old, mask):
    with torch.no_grad():
        return torch.where(mask.bool(), logp_new - logp_old, 0.0).exp()


@wrong("token_ratios", "no exp")
def _(logp_new, logp_old, mask):
    return torch.where(mask.bool(), logp_new - logp_old.detach(), torch.ones_like(logp_new))


# --- sequence_ratios


@wrong("sequence_ratios", "mean of the ratios|mean of the ratios, 0 in an empty row")
def _(logp_new, logp_old, mask):
    ratios = torch.where(mask.bool(), logp_new - logp_old.detach(), 0.0).exp() * mask
    return ratios.sum(dim=1) / mask.sum(dim=1).clamp(min=1)


@wrong("sequence_ratios", "sum instead of mean")
def _(logp_new, logp_old, mask):
    return torch.where(mask.bool(), (logp_new - logp_old.detach()), 0.0).exp().prod(dim=1)


@wrong("sequence_ratios", "mean over the padding")
def _(logp_new, logp_old, mask):
    difference = (logp_new - logp_old.detach()).masked_fill(~mask.bool(), 0.0)
    return difference.mean(dim=-1).exp()


@wrong("sequence_ratios", "empty row")
def _(logp_new, logp_old, mask):
    rows = [
        (new - old.detach())[m.bool()].mean()
        for new, old, m in zip(logp_new, logp_old, mask, strict=True)
    ]
    return torch.stack(rows).exp()


@wrong("sequence_ratios", "old log-probs not detached")
def _(logp_new, logp_old, mask):
    total = torch.where(mask.bool(), logp_new - logp_old, 0.0).sum(-1)
    return torch.exp(total / mask.sum(-1).clamp(min=1))


@wrong("sequence_ratios", "mean over the batch's tokens")
def _(logp_new, logp_old, mask):
    difference = torch.where(mask.bool(), logp_new - logp_old.detach(), 0.0)
    return (difference.sum(dim=1) / mask.bool().sum()).exp()


@wrong("sequence_ratios", "one column")
def _(logp_new, logp_old, mask):
    difference = torch.where(mask.bool(), logp_new - logp_old.detach(), 0.0)
    return (difference.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)).exp()


@wrong("sequence_ratios", "upside down")
def _(logp_new, logp_old, mask):
    difference = torch.where(mask.bool(), logp_old.detach() - logp_new, 0.0)
    return (difference.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).exp()


# --- gspo_token_ratios


@wrong("gspo_token_ratios", "the sequence ratio itself")
def _(logp_new, logp_old, mask):
    s = sequence_ratios(logp_new, logp_old, mask).unsqueeze(1).expand_as(logp_new)
    return s.masked_fill(mask == 0, 1.0)


@wrong("gspo_token_ratios", "old log-probs in exp")
def _(logp_new, logp_old, mask):
    s = sequence_ratios(logp_new, logp_old, mask).detach().unsqueeze(1)
    return torch.where(mask == 1, s, 1.0) * token_ratios(logp_new, logp_old, mask)


@wrong("gspo_token_ratios", "padding left in")
def _(logp_new, logp_old, mask):
    s = sequence_ratios(logp_new, logp_old, mask).detach().view(-1, 1)
    return s * torch.exp(logp_new - logp_new.detach())


@wrong("gspo_token_ratios", "s carries a gradient")
def _(logp_new, logp_old, mask):
    s = sequence_ratios(logp_new, logp_old, mask)[:, None]
    return (s * token_ratios(logp_new, logp_new.detach(), mask)).masked_fill(mask == 0, 1.0)


@wrong("gspo_token_ratios", "no gradient")
def _(logp_new, logp_old, mask):
    s = sequence_ratios(logp_new, logp_old, mask).detach()[:, None]
    return torch.where(mask.bool(), s.expand(mask.shape), 1.0)


@wrong("gspo_token_ratios", "masked after exp")
def _(logp_new, logp_old, mask):
    s = sequence_ratios(logp_new, logp_old, mask).detach()[:, None]
    return (s * (logp_new - logp_new.detach()).exp()).masked_fill(~mask.bool(), 1.0)


@wrong("gspo_token_ratios", "0 in the padding")
def _(logp_new, logp_old, mask):
    s = sequence_ratios(logp_new, logp_old, mask).detach()[:, None]
    return s * token_ratios(logp_new, logp_new.detach(), mask) * mask


@wrong("gspo_token_ratios", "s in the padding")
def _(logp_new, logp_old, mask):
    one = torch.where(mask.bool(), logp_new - logp_new.detach(), 0.0).exp()
    return one * sequence_ratios(logp_new, logp_old, mask).detach().unsqueeze(-1)


# --- clipped_objective


@wrong("clipped_objective", "clip without the minimum")
def _(ratios, advantages, clip_low, clip_high):
    return torch.clip(ratios, min=1 - clip_low, max=1 + clip_high) * advantages


@wrong("clipped_objective", "max for negative advantages")
def _(ratios, advantages, clip_low, clip_high):
    return torch.where(ratios > 1 + clip_high, (1 + clip_high) * advantages, ratios * advantages)


@wrong("clipped_objective", "maximum")
def _(ratios, advantages, clip_low, clip_high):
    both = ratios * advantages, ratios.clamp(1 - clip_low, 1 + clip_high) * advantages
    return torch.max(*both)


@wrong("clipped_objective", "the loss")
def _(ratios, advantages, clip_low, clip_high):
    clipped = torch.clamp(ratios, 1 - clip_low, 1 + clip_high)
    return torch.max(-advantages * ratios, -advantages * clipped)


@wrong("clipped_objective", "sides exchanged")
def _(ratios, advantages, clip_low, clip_high):
    clipped = ratios.clip(1 - clip_high, 1 + clip_low)
    return torch.minimum(clipped * advantages, ratios * advantages)


@wrong("clipped_objective", "range not around 1")
def _(ratios, advantages, clip_low, clip_high):
    return torch.min(ratios * advantages, ratios.clamp(clip_low, clip_high) * advantages)


@wrong("clipped_objective", "clip_high on both sides")
def _(ratios, advantages, clip_low, clip_high):
    close = (ratios - 1).clamp(-clip_high, clip_high) + 1
    return torch.min(ratios * advantages, close * advantages)


@wrong("clipped_objective", "averaged")
def _(ratios, advantages, clip_low, clip_high):
    clipped = ratios.clamp(1 - clip_low, 1 + clip_high)
    return torch.minimum(ratios * advantages, clipped * advantages).mean()


# --- clip_binds


@wrong("clip_binds", "outside the range")
def _(ratios, advantages, clip_low, clip_high):
    clipped = ratios.clamp(1 - clip_low, 1 + clip_high)
    return (clipped != ratios) & (advantages == advantages)


@wrong("clip_binds", "advantage 0 counted")
def _(ratios, advantages, clip_low, clip_high):
    return torch.where(advantages >= 0, ratios > 1 + clip_high, ratios < 1 - clip_low)


@wrong("clip_binds", "signs exchanged")
def _(ratios, advantages, clip_low, clip_high):
    return torch.where(
        advantages > 0, ratios < 1 - clip_low, (ratios > 1 + clip_high) & (advantages < 0)
    )


@wrong("clip_binds", "numbers")
def _(ratios, advantages, clip_low, clip_high):
    above, below = ratios > 1 + clip_high, ratios < 1 - clip_low
    return (above & (advantages > 0)).float() + (below & (advantages < 0)).float()


@wrong("clip_binds", "only above")
def _(ratios, advantages, clip_low, clip_high):
    return (advantages > 0).logical_and(ratios - 1 > clip_high)


@wrong("clip_binds", "clip_high on both sides")
def _(ratios, advantages, clip_low, clip_high):
    return (ratios - 1) * advantages.sign() > clip_high


@wrong("clip_binds", "times the advantage")
def _(ratios, advantages, clip_low, clip_high):
    moved = (ratios - 1) * advantages
    return torch.where(advantages > 0, moved > clip_high, moved > clip_low)


@wrong("clip_binds", "outside the range, 0 left out")
def _(ratios, advantages, clip_low, clip_high):
    return ((ratios - 1 > clip_high) | (1 - ratios > clip_low)) & (advantages != 0)


# --- range_that_binds


@wrong("range_that_binds", "the wrong end")
def _(ratios, advantages, share):
    overshoot = torch.sign(advantages) * (ratios - 1)
    return torch.clamp(torch.quantile(overshoot.flatten(), share), min=0.0)


@wrong("range_that_binds", "below 0")
def _(ratios, advantages, share):
    overshoot = torch.where(advantages > 0, ratios - 1, 1 - ratios)
    overshoot = torch.where(advantages == 0, 0.0, overshoot)
    return overshoot.quantile(1 - share)


@wrong("range_that_binds", "outside the range")
def _(ratios, advantages, share):
    distance = abs(ratios - 1) * torch.ones_like(advantages)
    return torch.quantile(distance, 1 - share)


@wrong("range_that_binds", "times the advantage")
def _(ratios, advantages, share):
    return torch.quantile(advantages * ratios - advantages, 1 - share).clamp(min=0)


@wrong("range_that_binds", "a Python number")
def _(ratios, advantages, share):
    overshoot = (ratios - 1) * advantages.sign()
    return max(0.0, torch.quantile(overshoot, 1 - share).item())


@wrong("range_that_binds", "only those that went the pushed way")
def _(ratios, advantages, share):
    overshoot = (ratios - 1) * advantages.sign()
    return torch.quantile(overshoot[overshoot > 0], 1 - share)


@wrong("range_that_binds", "no quantile between two places")
def _(ratios, advantages, share):
    overshoot = ((ratios - 1) * advantages.sign()).flatten().sort().values
    return overshoot[int((1 - share) * len(overshoot))].clamp(min=0)


@wrong("range_that_binds", "sign ignored")
def _(ratios, advantages, share):
    gone = (ratios - 1).expand(torch.broadcast_shapes(ratios.shape, advantages.shape))
    return gone.flatten().quantile(1 - share).clamp(min=0)


# --- aggregate


@wrong("aggregate", "times the mask")
def _(per_token, mask, how, max_tokens, total_rows=None, total_tokens=None):
    values, rows = per_token * mask, total_rows or len(mask)
    if how == "sequence_mean":
        return (values.sum(1) / mask.sum(1).clamp(min=1)).sum() / rows
    return values.sum() / (rows * max_tokens if how == "constant" else total_tokens or mask.sum())


@wrong("aggregate", "padded width instead of the budget")
def _(per_token, mask, how, max_tokens, total_rows=None, total_tokens=None):
    values, rows = torch.where(mask.bool(), per_token, 0.0), total_rows or len(mask)
    if how == "constant":
        return values.mean(dim=1).sum() / rows
    if how == "token_mean":
        return values.sum() / (total_tokens or mask.sum())
    return (values.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).sum() / rows


@wrong("aggregate", "micro-batch divided by its own rows")
def _(per_token, mask, how, max_tokens, total_rows=None, total_tokens=None):
    values = per_token.masked_fill(mask == 0, 0.0)
    if how == "sequence_mean":
        return (values.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()
    if how == "constant":
        return (values.sum(dim=1) / max_tokens).mean()
    return values.sum() / mask.sum()


@wrong("aggregate", "empty rows left out")
def _(per_token, mask, how, max_tokens, total_rows=None, total_tokens=None):
    values, rows = torch.where(mask.bool(), per_token, 0.0), total_rows or len(mask)
    if how == "sequence_mean":
        means = [v[m.bool()].mean() for v, m in zip(values, mask, strict=True) if m.any()]
        return sum(means) / (total_rows or len(means))
    return values.sum() / (rows * max_tokens if how == "constant" else total_tokens or mask.sum())


@wrong("aggregate", "constant without the rows")
def _(per_token, mask, how, max_tokens, total_rows=None, total_tokens=None):
    values = torch.where(mask.bool(), per_token, 0.0)
    if how == "constant":
        return values.sum() / max_tokens
    if how == "token_mean":
        return values.sum() / (total_tokens or mask.sum())
    return (values.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).sum() / (total_rows or len(mask))


@wrong("aggregate", "mean of means as token mean")
def _(per_token, mask, how, max_tokens, total_rows=None, total_tokens=None):
    values = torch.where(mask.bool(), per_token, 0.0)
    lengths = max_tokens if how == "constant" else mask.sum(dim=1).clamp(min=1)
    return (values.sum(dim=1) / lengths).sum() / (total_rows or len(mask))


@wrong("aggregate", "0 / 0")
def _(per_token, mask, how, max_tokens, total_rows=None, total_tokens=None):
    values, rows = torch.where(mask.bool(), per_token, 0.0), total_rows or len(mask)
    if how == "sequence_mean":
        return (
            torch.stack([v.sum() / m.sum() for v, m in zip(values, mask, strict=True)]).sum() / rows
        )
    return values.sum() / (rows * max_tokens if how == "constant" else total_tokens or mask.sum())


@wrong("aggregate", "padding left in")
def _(per_token, mask, how, max_tokens, total_rows=None, total_tokens=None):
    rows = total_rows or len(mask)
    if how == "sequence_mean":
        return per_token.mean(dim=1).sum() / rows
    return per_token.sum() / (
        rows * max_tokens if how == "constant" else total_tokens or mask.sum()
    )


# --- kl_estimate


@wrong("kl_estimate", "k3 with + x")
def _(logp, logp_ref, kind="k3"):
    x = logp_ref.detach() - logp
    return {"k1": -x, "k2": x**2 / 2, "k3": torch.exp(x) + x - 1}[kind]


@wrong("kl_estimate", "x reversed")
def _(logp, logp_ref, kind="k3"):
    x = logp - logp_ref.detach()
    if kind == "k1":
        return -x
    return 0.5 * x**2 if kind == "k2" else torch.expm1(x) - x


@wrong("kl_estimate", "reference not detached")
def _(logp, logp_ref, kind="k3"):
    d = logp - logp_ref
    if kind == "k1":
        return d
    return d**2 / 2 if kind == "k2" else torch.exp(-d) + d - 1


@wrong("kl_estimate", "k2 without the half")
def _(logp, logp_ref, kind="k3"):
    x = logp_ref.detach() - logp
    return -x if kind == "k1" else x.pow(2) if kind == "k2" else x.exp() - 1 - x


@wrong("kl_estimate", "k1 reversed")
def _(logp, logp_ref, kind="k3"):
    x = logp_ref.detach() - logp
    return x if kind == "k1" else x.square() * 0.5 if kind == "k2" else x.exp() - (x + 1)


@wrong("kl_estimate", "averaged")
def _(logp, logp_ref, kind="k3"):
    x = logp_ref.detach() - logp
    return torch.mean(-x if kind == "k1" else x**2 / 2 if kind == "k2" else x.exp() - x - 1)


@wrong("kl_estimate", "k3 without the x")
def _(logp, logp_ref, kind="k3"):
    ratio = torch.exp(logp_ref.detach() - logp)
    return (
        -torch.log(ratio)
        if kind == "k1"
        else torch.log(ratio) ** 2 / 2
        if kind == "k2"
        else ratio - 1
    )


@wrong("kl_estimate", "weighted by the probability")
def _(logp, logp_ref, kind="k3"):
    x = logp_ref.detach() - logp
    per_token = -x if kind == "k1" else x.square() / 2 if kind == "k2" else x.exp() - x - 1
    return logp.exp() * per_token


# --- method_loss


def _objective(method, new, old, advantages, mask):
    if method.ratio_level == "token":
        return clipped_objective(
            token_ratios(new, old, mask), advantages[:, None], method.clip_low, method.clip_high
        )
    ratios = sequence_ratios(new, old, mask)
    return clipped_objective(ratios, advantages, method.clip_low, method.clip_high)[:, None].expand(
        mask.shape
    )


@wrong("method_loss", "sign")
def _(method, new, old, advantages, mask, max_tokens, ref=None):
    per_token = _objective(method, new, old, advantages, mask)
    if method.kl_coef > 0:
        per_token = per_token - method.kl_coef * kl_estimate(new, ref, method.kl_kind)
    return aggregate(per_token, mask, method.aggregation, max_tokens)


@wrong("method_loss", "no clip")
def _(method, new, old, advantages, mask, max_tokens, ref=None):
    if method.ratio_level == "token":
        per_token = -token_ratios(new, old, mask) * advantages[:, None]
    else:
        per_token = (-sequence_ratios(new, old, mask) * advantages)[:, None].expand(mask.shape)
    if method.kl_coef > 0:
        per_token = per_token + method.kl_coef * kl_estimate(new, ref, method.kl_kind)
    return aggregate(per_token, mask, method.aggregation, max_tokens)


@wrong("method_loss", "no KL")
def _(method, new, old, advantages, mask, max_tokens, ref=None):
    return aggregate(
        -_objective(method, new, old, advantages, mask), mask, method.aggregation, max_tokens
    )


@wrong("method_loss", "token ratios for all")
def _(method, new, old, advantages, mask, max_tokens, ref=None):
    ratios = torch.where(mask.bool(), new - old, 0.0).exp()
    per_token = -torch.min(
        ratios * advantages[:, None],
        ratios.clamp(1 - method.clip_low, 1 + method.clip_high) * advantages[:, None],
    )
    if ref is not None:
        per_token = per_token + method.kl_coef * kl_estimate(new, ref, method.kl_kind)
    return aggregate(per_token, mask, method.aggregation, max_tokens)


@wrong("method_loss", "advantages along the tokens")
def _(method, new, old, advantages, mask, max_tokens, ref=None):
    level = token_ratios if method.ratio_level == "token" else sequence_ratios
    per_token = -clipped_objective(
        level(new, old, mask), advantages, method.clip_low, method.clip_high
    )
    if per_token.dim() == 1:
        per_token = per_token[:, None].expand(mask.shape)
    if method.kl_coef > 0:
        per_token = per_token + method.kl_coef * kl_estimate(new, ref, method.kl_kind)
    return aggregate(per_token, mask, method.aggregation, max_tokens)


@wrong("method_loss", "sequence_mean for all")
def _(method, new, old, advantages, mask, max_tokens, ref=None):
    per_token = -_objective(method, new, old, advantages, mask)
    if method.kl_coef > 0:
        per_token = per_token + method.kl_coef * kl_estimate(new, ref, method.kl_kind)
    per_token = torch.where(mask.bool(), per_token, 0.0)
    return (per_token.sum(1) / mask.sum(1)).mean()


@wrong("method_loss", "k3 for all")
def _(method, new, old, advantages, mask, max_tokens, ref=None):
    per_token = -_objective(method, new, old, advantages, mask)
    if ref is not None:
        per_token = per_token + method.kl_coef * kl_estimate(new, ref)
    return aggregate(per_token, mask, method.aggregation, max_tokens)


@wrong("method_loss", "KL without its coefficient")
def _(method, new, old, advantages, mask, max_tokens, ref=None):
    loss = aggregate(
        -_objective(method, new, old, advantages, mask), mask, method.aggregation, max_tokens
    )
    if method.kl_coef:
        loss = loss + aggregate(
            kl_estimate(new, ref, method.kl_kind), mask, method.aggregation, max_tokens
        )
    return loss


# --- take_updates


def _parameters(optimizer):
    return [p for group in optimizer.param_groups for p in group["params"]]


def _step(optimizer, loss, limit=1.0):
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(_parameters(optimizer), limit)
    optimizer.step()


@wrong("take_updates", "old log-probs at each update")
def _(score, optimizer, minibatches, advantages, mask, method, max_tokens, epochs):
    losses = []
    for _ in range(epochs):
        for rows in minibatches:
            logp = score(rows)
            loss = policy_loss(
                method, logp, logp.detach(), advantages[rows], mask[rows], max_tokens
            ).loss
            _step(optimizer, loss)
            losses.append(loss.item())
    return losses


@wrong("take_updates", "old log-probs at each pass")
def _(score, optimizer, minibatches, advantages, mask, method, max_tokens, epochs):
    losses = []
    for _ in range(epochs):
        with torch.no_grad():
            old = score(torch.arange(len(mask)))
        for rows in minibatches:
            loss = policy_loss(
                method, score(rows), old[rows], advantages[rows], mask[rows], max_tokens
            ).loss
            _step(optimizer, loss)
            losses.append(loss.item())
    return losses


@wrong("take_updates", "gradients pile up")
def _(score, optimizer, minibatches, advantages, mask, method, max_tokens, epochs):
    old, losses = score(torch.arange(len(mask))).detach(), []
    for _ in range(epochs):
        for rows in minibatches:
            loss = policy_loss(
                method, score(rows), old[rows], advantages[rows], mask[rows], max_tokens
            ).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(_parameters(optimizer), 1.0)
            optimizer.step()
            losses.append(loss.item())
    return losses


@wrong("take_updates", "no limit on the gradient")
def _(score, optimizer, minibatches, advantages, mask, method, max_tokens, epochs):
    old, losses = score(torch.arange(len(mask))).detach(), []
    for rows in minibatches * epochs:
        optimizer.zero_grad()
        loss = policy_loss(
            method, score(rows), old[rows], advantages[rows], mask[rows], max_tokens
        ).loss
        loss.backward()
        optimizer.step()
        torch.nn.utils.clip_grad_norm_(_parameters(optimizer), 1.0)
        losses.append(loss.item())
    return losses


@wrong("take_updates", "old log-probs in another order")
def _(score, optimizer, minibatches, advantages, mask, method, max_tokens, epochs):
    old, losses = score(torch.cat(minibatches)).detach(), []
    for rows in minibatches * epochs:
        loss = policy_loss(
            method, score(rows), old[rows], advantages[rows], mask[rows], max_tokens
        ).loss
        _step(optimizer, loss)
        losses.append(loss.item())
    return losses


@wrong("take_updates", "batch by batch")
def _(score, optimizer, minibatches, advantages, mask, method, max_tokens, epochs):
    old, losses = score(torch.arange(len(mask))).detach(), []
    for rows in minibatches:
        for _ in range(epochs):
            loss = policy_loss(
                method, score(rows), old[rows], advantages[rows], mask[rows], max_tokens
            ).loss
            _step(optimizer, loss)
            losses.append(loss.item())
    return losses


@wrong("take_updates", "losses as tensors")
def _(score, optimizer, minibatches, advantages, mask, method, max_tokens, epochs):
    old, losses = score(torch.arange(len(mask))).detach(), []
    for rows in minibatches * epochs:
        loss = policy_loss(
            method, score(rows), old[rows], advantages[rows], mask[rows], max_tokens
        ).loss
        _step(optimizer, loss)
        losses.append(loss)
    return losses


@wrong("take_updates", "losses of the last pass")
def _(score, optimizer, minibatches, advantages, mask, method, max_tokens, epochs):
    old = score(torch.arange(len(mask))).detach()
    for _ in range(epochs):
        losses = []
        for rows in minibatches:
            loss = policy_loss(
                method, score(rows), old[rows], advantages[rows], mask[rows], max_tokens
            ).loss
            _step(optimizer, loss)
            losses.append(loss.item())
    return losses


@wrong("take_updates", "one pass")
def _(score, optimizer, minibatches, advantages, mask, method, max_tokens, epochs):
    old, losses = score(torch.arange(len(mask))).detach(), []
    for rows in minibatches:
        loss = policy_loss(
            method, score(rows), old[rows], advantages[rows], mask[rows], max_tokens
        ).loss
        _step(optimizer, loss)
        losses.append(loss.item())
    return losses


# --- accumulated_loss


@wrong("accumulated_loss", "sum of means")
def _(method, new, old, advantages, mask, max_tokens, micro_rows):
    loss = 0.0
    for i in range(0, len(mask), micro_rows):
        part = slice(i, i + micro_rows)
        loss = (
            loss
            + policy_loss(
                method, new[part], old[part], advantages[part], mask[part], max_tokens
            ).loss
        )
    return loss


@wrong("accumulated_loss", "mean of means")
def _(method, new, old, advantages, mask, max_tokens, micro_rows):
    losses = []
    for i in range(0, len(mask), micro_rows):
        part = slice(i, i + micro_rows)
        losses.append(
            policy_loss(method, new[part], old[part], advantages[part], mask[part], max_tokens).loss
        )
    return torch.stack(losses).mean()


@wrong("accumulated_loss", "weighted by rows")
def _(method, new, old, advantages, mask, max_tokens, micro_rows):
    loss = 0.0
    for i in range(0, len(mask), micro_rows):
        part = slice(i, i + micro_rows)
        own = policy_loss(
            method, new[part], old[part], advantages[part], mask[part], max_tokens
        ).loss
        loss = loss + own * len(mask[part])
    return loss / len(mask)


@wrong("accumulated_loss", "no total of tokens")
def _(method, new, old, advantages, mask, max_tokens, micro_rows):
    loss = 0.0
    for part in torch.arange(len(mask)).split(micro_rows):
        sizes = {"total_rows": len(advantages)}
        loss += policy_loss(
            method, new[part], old[part], advantages[part], mask[part], max_tokens, **sizes
        ).loss
    return loss


@wrong("accumulated_loss", "last micro-batch lost")
def _(method, new, old, advantages, mask, max_tokens, micro_rows):
    loss = torch.zeros(())
    for i in range(len(mask) // micro_rows):
        part = slice(i * micro_rows, (i + 1) * micro_rows)
        sizes = {"total_rows": len(mask), "total_tokens": mask.sum()}
        loss = (
            loss
            + policy_loss(
                method, new[part], old[part], advantages[part], mask[part], max_tokens, **sizes
            ).loss
        )
    return loss


@wrong("accumulated_loss", "totals and a mean")
def _(method, new, old, advantages, mask, max_tokens, micro_rows):
    losses = []
    for part in torch.arange(len(mask)).split(micro_rows):
        sizes = {"total_rows": len(mask), "total_tokens": int(mask.sum())}
        losses.append(
            policy_loss(
                method, new[part], old[part], advantages[part], mask[part], max_tokens, **sizes
            ).loss
        )
    return sum(losses) / len(losses)


@wrong("accumulated_loss", "detached")
def _(method, new, old, advantages, mask, max_tokens, micro_rows):
    loss = 0.0
    for part in torch.arange(len(mask)).split(micro_rows):
        sizes = {"total_rows": len(mask), "total_tokens": int(mask.sum())}
        loss += policy_loss(
            method, new[part], old[part], advantages[part], mask[part], max_tokens, **sizes
        ).loss.item()
    return torch.tensor(loss, dtype=new.dtype)


@wrong("accumulated_loss", "totals of the micro-batch|sum of means")
def _(method, new, old, advantages, mask, max_tokens, micro_rows):
    loss = 0.0
    for part in torch.arange(len(mask)).split(micro_rows):
        sizes = {"total_rows": len(part), "total_tokens": int(mask[part].sum())}
        loss = (
            loss
            + policy_loss(
                method, new[part], old[part], advantages[part], mask[part], max_tokens, **sizes
            ).loss
        )
    return loss


# --- training_bytes


@wrong("training_bytes", "three of four")
def _(parameters, adapters=0):
    trained = adapters if adapters else parameters
    frozen = parameters if adapters else 0
    return 4 * (frozen + trained) + 8 * trained


@wrong("training_bytes", "weights alone")
def _(parameters, adapters=0):
    return (parameters + adapters) * 32 // 8


@wrong("training_bytes", "16-bit weights")
def _(parameters, adapters=0):
    if adapters:
        return 2 * parameters + (2 + 4 + 8) * adapters
    return (2 + 4 + 8) * parameters


@wrong("training_bytes", "LoRA trains all")
def _(parameters, adapters=0):
    total = parameters + adapters
    return sum(4 * total for _ in ("weights", "gradients", "first moment", "second moment"))


@wrong("training_bytes", "frozen weights forgotten")
def _(parameters, adapters=0):
    return 16 * adapters if adapters > 0 else 16 * parameters


@wrong("training_bytes", "adapters ignored")
def _(parameters, adapters=0):
    return 4 * parameters * (1 + 1 + 2)


@wrong("training_bytes", "frozen weights in 16 bits")
def _(parameters, adapters=0):
    return 2 * parameters + 16 * adapters if adapters else 16 * parameters


@wrong("training_bytes", "adapters without their weights")
def _(parameters, adapters=0):
    return 4 * parameters + 12 * adapters if adapters else 16 * parameters


# --- token_seconds


@wrong("token_seconds", "sum")
def _(weights, rows, bandwidth, flops):
    reading = weights * 2 / bandwidth
    computing = rows * weights * 2 / flops
    return reading + computing


@wrong("token_seconds", "reading alone")
def _(weights, rows, bandwidth, flops):
    return 2 * weights / bandwidth if rows < flops else 2 * weights * rows / flops


@wrong("token_seconds", "read for each row")
def _(weights, rows, bandwidth, flops):
    return rows * max(2 * weights / bandwidth, 2 * weights / flops)


@wrong("token_seconds", "four bytes")
def _(weights, rows, bandwidth, flops):
    return max(weights * 32 / 8 / bandwidth, 2 * weights * rows / flops)


@wrong("token_seconds", "one FLOP")
def _(weights, rows, bandwidth, flops):
    seconds = [2 * weights / bandwidth, weights * rows / flops]
    return sorted(seconds)[-1]


@wrong("token_seconds", "rows forgotten")
def _(weights, rows, bandwidth, flops):
    return 2 * weights / min(bandwidth, flops)


@wrong("token_seconds", "one byte")
def _(weights, rows, bandwidth, flops):
    return max(weights / bandwidth, 2 * weights * rows / flops)


@wrong("token_seconds", "tokens per second")
def _(weights, rows, bandwidth, flops):
    return 1 / max(2 * weights / bandwidth, 2 * weights * rows / flops)


# --- paired_interval


@wrong("paired_interval", "unpaired")
def _(first, second):
    n = len(first)
    p, q = sum(first) / n, sum(second) / n
    half = 1.96 * ((p * (1 - p) + q * (1 - q)) / (n - 1)) ** 0.5
    return q - p - half, q - p + half


@wrong("paired_interval", "biased sd")
def _(first, second):
    d = np.array(second, dtype=float) - np.array(first, dtype=float)
    half = 1.96 * d.std() / np.sqrt(len(d))
    return float(d.mean() - half), float(d.mean() + half)


@wrong("paired_interval", "first less second")
def _(first, second):
    d = torch.tensor(first).double() - torch.tensor(second).double()
    half = 1.96 * d.std() / len(d) ** 0.5
    return (d.mean() - half).item(), (d.mean() + half).item()


@wrong("paired_interval", "one standard error")
def _(first, second):
    d = torch.tensor(second).double() - torch.tensor(first).double()
    error = (d.var() / len(d)).sqrt().item()
    return d.mean().item() - error, d.mean().item() + error


@wrong("paired_interval", "no square root of n")
def _(first, second):
    d = [int(b) - int(a) for a, b in zip(first, second, strict=True)]
    mean = sum(d) / len(d)
    sd = (sum((x - mean) ** 2 for x in d) / (len(d) - 1)) ** 0.5
    return mean - 1.96 * sd, mean + 1.96 * sd


@wrong("paired_interval", "only problems that changed")
def _(first, second):
    d = np.array([b - a for a, b in zip(first, second, strict=True) if a != b], dtype=float)
    half = 1.96 * d.std(ddof=1) / len(d) ** 0.5
    return d.mean() - half, d.mean() + half


@wrong("paired_interval", "sizes of the differences")
def _(first, second):
    d = torch.tensor(second).double().sub(torch.tensor(first).double()).abs()
    half = 1.96 * d.std().item() / math.sqrt(len(d))
    return d.mean().item() - half, d.mean().item() + half


@wrong("paired_interval", "in points")
def _(first, second):
    d = [100 * (b - a) for a, b in zip(first, second, strict=True)]
    mean, sd = np.mean(d), np.std(d, ddof=1)
    return mean - 1.96 * sd / len(d) ** 0.5, mean + 1.96 * sd / len(d) ** 0.5


@wrong("paired_interval", "variance for sd")
def _(first, second):
    d = np.array(second, dtype=float) - np.array(first, dtype=float)
    half = 1.96 * d.var(ddof=1) / np.sqrt(len(d))
    return float(d.mean() - half), float(d.mean() + half)


@wrong("paired_interval", "variance for sd|biased sd")
def _(first, second):
    d = np.array(second, dtype=float) - np.array(first, dtype=float)
    half = 1.96 * d.var() / np.sqrt(len(d))
    return float(d.mean() - half), float(d.mean() + half)


@wrong("paired_interval", "no square root of n|biased sd")
def _(first, second):
    d = np.array(second, dtype=float) - np.array(first, dtype=float)
    return float(d.mean() - 1.96 * d.std()), float(d.mean() + 1.96 * d.std())


@wrong("paired_interval", "squared error")
def _(first, second):
    d = torch.tensor(second).double() - torch.tensor(first).double()
    half = 1.96 * d.var().item() / len(d)
    return d.mean().item() - half, d.mean().item() + half


# --- equation_score

EQUATION = r"\d+ [-+x] \d+ = \d+"


@wrong("equation_score", "short for every text")
def _(text, answer):
    correct = 1.0 if re.findall(EQUATION, text) == [answer] else 0.0
    return correct, min(1.0, 5 / max(1, len(text.split())))


@wrong("equation_score", "the equation is in it")
def _(text, answer):
    if answer in text:
        return 1.0, 5 / max(5, len(text.split()))
    return 0.0, 0.0


@wrong("equation_score", "the equation is in it")
def _(text, answer):
    correct = float(answer in re.findall(EQUATION, text))
    return correct, correct * 5 / max(5, len(text.split()))


@wrong("equation_score", "the first equation")
def _(text, answer):
    first = re.search(EQUATION, text)
    correct = float(first is not None and first.group() == answer)
    return correct, correct * 5 / max(5, len(text.split()))


@wrong("equation_score", "each equation once")
def _(text, answer):
    stated = re.findall(EQUATION, text)
    correct = float(bool(stated) and all(each == answer for each in stated))
    return correct, correct * 5 / max(5, len(text.split()))


@wrong("equation_score", "nothing else")
def _(text, answer):
    correct = float(text.replace(".", "").strip() == answer)
    return correct, correct * 5 / max(5, len(text.split()))


@wrong("equation_score", "characters")
def _(text, answer):
    correct = float(re.findall(EQUATION, text) == [answer])
    return correct, 5 / len(text) if correct else 0.0


@wrong("equation_score", "part of a number")
def _(text, answer):
    stated = re.findall(EQUATION, text)
    correct = float(len(stated) < 2 and answer in text)
    return correct, correct * 5 / max(5, len(text.split()))


@wrong("equation_score", "a truth value")
def _(text, answer):
    correct = re.findall(EQUATION, text) == [answer]
    return correct, 5 / max(5, len(text.split())) if correct else 0.0


@wrong("equation_score", "one number")
def _(text, answer):
    return float(re.findall(EQUATION, text) == [answer])


@wrong("equation_score", "the last equation")
def _(text, answer):
    stated = ["", *re.findall(EQUATION, text)]
    correct = float(stated.pop() == answer)
    return correct, correct * 5 / max(5, len(text.split()))
