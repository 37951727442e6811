"""Words and sentences of which generated problems are made."""

# The order of these lists belongs to the seeds: another order makes other problems.
PEOPLE = {
    "He": ["Ben", "Tom", "Max", "Leo", "Sam", "Dan"],
    "She": ["Anna", "Mia", "Zoe", "Eva", "Ida", "Lily"],
}
THINGS = "stamps clips coins cards shells books pens marbles stickers beads".split()
CONTAINERS = ["bags", "boxes", "packs"]
# Verbs of the third person, for sentences of one number.
GAIN = ["wins", "finds", "gets"]
LOSE = ["loses", "sells", "drops"]

# How a two-step problem is solved, and its text: `r` is the result of the first step.
TWO_STEP = [
    (
        "a + b",
        "r - c",
        "{name} has {a} {thing}. {He} {gain} {b} more and then {lose} {c}. {how_many} have now?",
    ),
    (
        "a - b",
        "r + c",
        "{name} has {a} {thing}. {He} {lose} {b} and then {gain} {c} more. {how_many} have now?",
    ),
    (
        "a x b",
        "r + c",
        "{name} has {a} {containers} of {b} {thing} each and {c} loose {thing}. {how_many} have?",
    ),
    (
        "a x b",
        "r - c",
        (
            "{name} buys {a} {containers} of {b} {thing} each and gives {c} {thing} away."
            " {how_many} keep?"
        ),
    ),
    (
        "a + b",
        "r x c",
        "{name} has {a} red and {b} blue {containers}. Each holds {c} {thing}. {how_many} have?",
    ),
    (
        "a + b",
        "c - r",
        (
            "{name} has {c} coins. A cap costs {a} coins and a ball {b} coins. If {he} buys one of"
            " each, how many coins does {he} have left?"
        ),
    ),
    (
        "a + b",
        "r + c",
        (
            "A baker sells {a} rolls in the morning, {b} at noon and {c} in the evening. How many"
            " rolls does the baker sell in all?"
        ),
    ),
    (
        "a x b",
        "c - r",
        "A shop has {c} eggs and sells {a} boxes of {b} eggs each. How many eggs are left?",
    ),
    (
        "a - b",
        "r + c",
        (
            "There are {a} people on a bus. At the next stop {b} get off and {c} get on. How many"
            " people are on the bus now?"
        ),
    ),
    (
        "a - b",
        "r - c",
        (
            "There are {a} children at a party. First {b} of them go home, and later {c} more. How"
            " many children are still there?"
        ),
    ),
    (
        "a + b",
        "r x c",
        (
            "A class has {a} boys and {b} girls. Each child gets {c} pencils. How many pencils are"
            " given out?"
        ),
    ),
    (
        "a x b",
        "c - r",
        "A book has {c} pages. {name} reads {a} pages a day for {b} days. How many pages are left?",
    ),
]
