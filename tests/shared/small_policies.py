"""Small random policies, made in code in a moment, for every test that needs a model.

    llama   two layers, which the written-out decoder knows
    qwen2   the same with biases on q, k and v, and two key-value heads for four query heads
    gpt2    learned positions, dropout in its configuration, the decoder for any model

Three of the 43 words end a completion, so that completions of a few tokens differ in length. One
end token is the tokenizer's, the two others stand in the generation config only.
"""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from rlvr_helpers.models import make_policy
from rlvr_helpers.problems import Problem

torch.set_num_threads(1)  # bit for bit the same on every machine, and no quarrel over the cores

SPECIAL = ["<pad>", "<end>", "<unk>", "<stop>"]
TURNS = ["<system>", "<user>", "<assistant>"]
TAGS = ["<reasoning>", "</reasoning>", "<answer>", "</answer>"]
NUMBERS = [str(number) for number in range(16)]
SIGNS = [".", "+", "-", "=", "?"]
OTHERS = ["Ben", "Mia", "has", "wins", "loses", "How", "many", "now", "He", "She", "stamps"]
WORDS = SPECIAL + TURNS + TAGS + NUMBERS + SIGNS + OTHERS
ID = {word: number for number, word in enumerate(WORDS)}
PAD, END, UNKNOWN, STOP, POINT = (ID[word] for word in ("<pad>", "<end>", "<unk>", "<stop>", "."))
END_IDS = (END, STOP, POINT)  # the tokenizer's, then those of the generation config alone

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def make_tokenizer(**changes):
    """Word by word, split at blanks, with a chat template."""
    backend = Tokenizer(models.WordLevel(ID, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "<pad>", "eos_token": "<end>", "unk_token": "<unk>"} | changes
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_model(family="llama", seed=0, dtype=torch.float32, **changes):
    """A random model with hidden size 16 and two layers, spread wide enough that its choices
    differ."""
    torch.manual_seed(seed)
    if family == "gpt2":
        config = GPT2Config(
            vocab_size=len(WORDS),
            n_embd=16,
            n_layer=2,
            n_head=2,
            n_positions=96,
            initializer_range=0.3,
            bos_token_id=END,
            eos_token_id=END,
            pad_token_id=PAD,
            **changes,
        )
        model = GPT2LMHeadModel(config)
    else:
        kinds = {
            "llama": (LlamaConfig, LlamaForCausalLM, 2, 2),
            "qwen2": (Qwen2Config, Qwen2ForCausalLM, 4, 2),
        }
        config_kind, model_kind, heads, kv_heads = kinds[family]
        shape = {
            "vocab_size": len(WORDS),
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "max_position_embeddings": 96,
            "initializer_range": 0.3,
            "tie_word_embeddings": False,
            "bos_token_id": None,
            "eos_token_id": END,
            "pad_token_id": PAD,
        }
        model = model_kind(config_kind(**shape | changes))
    with torch.no_grad():
        for name, value in model.named_parameters():
            # transformers starts them at 0, where a forgotten bias would not show
            if name.endswith("bias"):
                value.normal_(std=0.3)
    model.generation_config.eos_token_id = [STOP, POINT]
    return model.to(dtype).eval()


def make_any(family, **changes):
    """A random model of any family that transformers knows, as a rule with hidden size 32 and two
    layers."""
    torch.manual_seed(0)
    shape = {
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.3,
        "bos_token_id": END,
        "eos_token_id": END,
        "pad_token_id": PAD,
    }
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[family](**shape | changes))
    model.generation_config.eos_token_id = [STOP, POINT]
    return model.eval()


def make_tiny(family="llama", seed=0, dtype=torch.float32, **changes):
    """A policy around such a model."""
    return make_policy(make_model(family, seed, dtype, **changes), make_tokenizer(), family)


def some_problems():
    questions = {
        "Ben has 3 stamps . He wins 4 . How many stamps now ?": "7",
        "5 + 6 = ?": "11",
        "Mia has 9 stamps . She loses 2 . She wins 8 . How many stamps has Mia now ?": "15",
        "7 - 7": "0",
        "How many stamps has Ben ? Mia has 2 .": "2",
        "12 - 4 = ?": "8",
    }
    return [Problem(question, answer) for question, answer in questions.items()]
