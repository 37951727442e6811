"""Exercises of lesson 12: the bytes that training takes at least, the seconds of one token."""

from rlvr_helpers.exercises.core import Case, Exercise, named

# --- training_bytes


def bytes_cases() -> list[Case]:
    """All weights and LoRA, on a small and a large model."""
    return [
        Case("tiny, all weights", (874_496,)),
        Case("Qwen2.5-1.5B, all weights", (1_543_714_304,)),
        Case("Qwen2.5-1.5B, LoRA of rank 16", (1_543_714_304, 18_464_768)),
        Case("tiny, LoRA of rank 16", (874_496, 163_840)),
    ]


def training_bytes(parameters: int, adapters: int = 0) -> int:
    """Bytes of float32 weights, gradients and AdamW's two moments. With adapters, only these are
    trained."""
    trained = adapters or parameters
    frozen = parameters if adapters else 0
    return 4 * frozen + 16 * trained


BYTES_MISTAKES = {
    # The unit.
    "GB": (
        lambda n, a=0: training_bytes(n, a) / 1e9,
        "you return GB. Return bytes: do not divide by a billion.",
    ),
    "GiB": (
        lambda n, a=0: training_bytes(n, a) / 2**30,
        "you return GiB. Return bytes: do not divide by 2**30.",
    ),
    # Bytes per trained number.
    "three of four": (
        lambda n, a=0: 4 * n + 12 * a if a else 12 * n,
        (
            "you count 12 bytes for a trained number. Weight, gradient and two moments of AdamW"
            " are 16."
        ),
    ),
    "weights alone": (
        lambda n, a=0: 4 * (n + a),
        (
            "you count only the weights. What is trained has a gradient and two moments of AdamW"
            " as well, float32 each."
        ),
    ),
    "16-bit weights": (
        lambda n, a=0: 2 * n + 14 * a if a else 14 * n,
        (
            "you count the weights in 16 bits. The weights that the optimizer updates are float32,"
            " 4 bytes."
        ),
    ),
    # What is trained under LoRA.
    "LoRA trains all": (
        lambda n, a=0: 16 * (n + a),
        (
            "under LoRA you count gradients and moments of the model's own weights. They are"
            " frozen: 4 bytes each."
        ),
    ),
    "LoRA has gradients for all": (
        lambda n, a=0: 8 * n + 16 * a if a else 16 * n,
        "under LoRA you count gradients of the model's own weights. They are frozen and have none.",
    ),
    # What is frozen.
    "frozen weights forgotten": (
        lambda n, a=0: 16 * (a or n),
        (
            "under LoRA the model's own weights are missing. They are not trained, and yet they are"
            " there: 4 bytes each."
        ),
    ),
    "frozen weights in 16 bits": (
        lambda n, a=0: 2 * n + 16 * a if a else 16 * n,
        (
            "under LoRA you count the frozen weights in 16 bits. They are float32 as well, 4 bytes"
            " each."
        ),
    ),
    "adapters without their weights": (
        lambda n, a=0: 4 * n + 12 * a if a else 16 * n,
        (
            "under LoRA you count 12 bytes for a number of the adapters, or you take them off the"
            " parameters. Each comes on top, with a weight, a gradient and two moments: 16."
        ),
    ),
    "adapters ignored": (
        lambda n, a=0: 16 * n,
        (
            "`adapters` changes nothing in yours. Where it is above 0, the model's own weights are"
            " frozen."
        ),
    ),
}

# --- token_seconds


def token_cases() -> list[Case]:
    """Below, at and above the number of rows where reading and computing take the same time."""
    return [
        Case("16 rows, bound by reading", (1.5e9, 16, 1e12, 1e14)),
        Case("1 row, bound by reading", (5e8, 1, 3e11, 6e13)),
        Case("1000 rows, bound by computing", (1.5e9, 1000, 1e12, 1e14)),
        Case("1 row on a slow processor", (1e8, 1, 1e11, 2e10)),
    ]


def token_seconds(weights: float, rows: int, bandwidth: float, flops: float) -> float:
    """Seconds for one token of each of `rows` completions. The weights are read in 16 bits."""
    reading = 2 * weights / bandwidth
    computing = 2 * weights * rows / flops
    return max(reading, computing)


TOKEN_MISTAKES = {
    # How the two times are combined.
    "sum": (
        lambda n, b, w, f: 2 * n / w + 2 * n * b / f,
        (
            "you add the two times. A GPU reads and computes at the same time: the longer time"
            " counts, max."
        ),
    ),
    "the shorter": (
        lambda n, b, w, f: min(2 * n / w, 2 * n * b / f),
        "you take the shorter of the two times. The step is over when both are: max.",
    ),
    "reading alone": (
        lambda n, b, w, f: 2 * n / w,
        "you count only the reading. With many rows the arithmetic takes longer.",
    ),
    "computing alone": (
        lambda n, b, w, f: 2 * n * b / f,
        (
            "you count only the arithmetic. With few rows the weights cannot be read as fast as"
            " they are used."
        ),
    ),
    # How often something is done.
    "read for each row": (
        lambda n, b, w, f: max(2 * n * b / w, 2 * n * b / f),
        (
            "you read the weights once for each row. All rows use what was read: that is why more"
            " rows cost so little."
        ),
    ),
    "rows forgotten": (
        lambda n, b, w, f: max(2 * n / w, 2 * n / f),
        "the arithmetic is that of one row. Every row is multiplied with every weight.",
    ),
    # Units.
    "four bytes": (
        lambda n, b, w, f: max(4 * n / w, 2 * n * b / f),
        "you read four bytes per weight. Products are made of 16-bit weights: two.",
    ),
    "one byte": (
        lambda n, b, w, f: max(n / w, 2 * n * b / f),
        "you read one byte per weight. In 16 bits it is two.",
    ),
    "tokens per second": (
        lambda n, b, w, f: 1 / max(2 * n / w, 2 * n * b / f),
        "you give tokens per second. The time of one token is asked for, its inverse.",
    ),
    "one FLOP": (
        lambda n, b, w, f: max(2 * n / w, n * b / f),
        "you count one FLOP per weight and row. A product and a sum are two.",
    ),
}

EXERCISES = [
    Exercise(
        name="training_bytes",
        lesson="12",
        minutes=5,
        difficulty=1,
        reference=training_bytes,
        cases=bytes_cases,
        mistakes=named(BYTES_MISTAKES),
        hints=[
            (
                "What does the optimizer keep of a number that is trained, and what of one that is"
                " not?"
            ),
            (
                "A float32 is 4 bytes. Trained: weight, gradient, two moments, so 16. Frozen: the"
                " weight, so 4."
            ),
            "With adapters: `4 * parameters + 16 * adapters`; without: `16 * parameters`.",
        ],
    ),
    Exercise(
        name="token_seconds",
        lesson="12",
        minutes=7,
        difficulty=2,
        reference=token_seconds,
        cases=token_cases,
        mistakes=named(TOKEN_MISTAKES),
        hints=[
            (
                "Two things happen side by side, reading and computing. Which of them has to do"
                " with the number of rows?"
            ),
            (
                "Reading moves 2 bytes per weight, once for all rows. Computing takes 2 FLOPs per"
                " weight, for every row."
            ),
            "`max(2 * weights / bandwidth, 2 * weights * rows / flops)`",
        ],
        tolerance=1e-9,
    ),
]
