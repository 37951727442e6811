"""Words around an answer: those that make its number another one, and those that open a
question."""

import re

# --- what changes the number of an answer (`rewards.parse_number`)

# Arithmetic and magnitudes: the value is not that of the digits.
CHANGES = """
    minus plus negative neg less half halve halves halved double doubles doubled doubling treble
    triple triples tripled
    quadruple quadrupled twice thrice squared cubed sqrt root factorial raised mod modulo itself
    reversed subtract subtracted
    subtracting divided dividing multiply multiplied multiplying multiple multiples reciprocal
    inverse opposite hex
    hexadecimal octal binary thirds tens dozen dozens hundred hundreds thousand thousands million
    millions billion billions
    trillion trillions lakh lakhs crore crores k bn mn mio mrd mil mill
"""
# Bounds, guesses and alternatives: the value can be another.
LOOSENS = """
    or than below almost nearly roughly approx approximately approximate circa estimate estimated
    estimates barely hardly
    exceed exceeds exceeding
"""
DENIES = """
    no not nope none nor neither never without cannot unless except exclude excludes excluded
    excluding wrong wrongly
    incorrect incorrectly false falsely untrue mistake mistaken mistakenly erroneous inaccurate
    invalid impossible deny
    denies denied reject rejects rejected refuted disproved disproven isnt arent wasnt werent dont
    doesnt didnt cant wont
    hasnt havent hadnt wouldnt couldnt shouldnt aint
"""
# Wherever they stand.
CHANGES_VALUE = frozenset((CHANGES + LOOSENS + DENIES).split())
# The same in several words. \ and ^ too, since a LaTeX command or an exponent can do anything.
PHRASES = re.compile(
    r"""(?ix) [\\^] | n['’]t\b | \b(?:at\s(?:least|most) | (?:short|shy|instead)\sof
    | close\sto | far\sfrom | ruled\sout)\b
    | \btoo\s(?:high|low|large|small)\b | (?<!add\s)(?<!adds\s)(?<!added\s)(?<!sums\s)\bup\sto\b
    | \bto\sthe\s(?:\S+\s)?power\b
    | \b(?:quarter|third)s?\sof\b
    | (?:four|fif|six|seven|eigh|nin|ten|teen|tie|dred|sand|illion)th(?:s|s?\sof)\b"""
)

# Directly before the number these change it too: "about 72", "a quarter of 72". Elsewhere they may
# belong to a sentence.
BEFORE = frozenset(
    "about above abs any around beyond between but c cos cube exp factor few fraction from ln log"
    " many max maximum min minimum most near non one out over part past per percent percentage"
    " point power quarter rest share sin some square tan third times under within x".split()
)
# These can stand between: "one of the 72", "a quarter to 12".
LINKS = frozenset("a an as in of only just the to".split())

# Directly after it: letters for thousands and millions, and variables (`72 m` is a length).
LETTERS = frozenset("beijnoqruvwxyzπBDEGHKMOPQRSTUXYZ") | {"pi"}
# The last word, directly after it: "72 odd". In "72 odd numbers" it belongs to the unit.
LAST = frozenset(
    "grand gross ish max maximum minimum odd over score something tops under up upwards".split()
)
# "72 and a bit"
AND_MORE = frozenset(
    "a above an below beyond change counting more one over some then under up".split()
)

# Numbers in words up to 99. "One" is also a pronoun, and "two-litre" is part of a unit.
ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
SPELLED = {word: str(number) for number, word in enumerate(ONES) if word != "one"}
SPELLED |= {ten: str(10 * number) for number, ten in enumerate(TENS, start=2)}
SPELLED |= {
    f"{ten}-{ONES[i]}": f"{number}{i}"
    for number, ten in enumerate(TENS, start=2)
    for i in range(1, 10)
}

# A unit that can touch the number (72kg, 72km/h, 72/day). 72x, 72nd and 72k are no such thing.
UNIT = (
    r"(?:[mck]?m|in|ft|yd|mi|m?g|kg|lbs?|oz|t|m?l|L|gal|m?s|secs?|mins?|h|hrs?"
    r"|k?Wh?|V|k?Hz|[kMG]B|kcal|mph|kph|°[CF]|[°%])?"
    r"(?:/(?:[a-z]{3,}|h|hr|s|kg|g|m|km|l|lb))?"
)

# --- where the first answer begins and ends (`rewards.lenient_answer`)

# Who or what asks. "### Problem breakdown" is the start of a solution.
ASKING = (
    r"(?:(?:next|new|another|second|follow-?up|bonus|practice|similar|math|word|user)\s+){0,2}"
    r"(?:(?:question|problem|exercise|query|prompt|instruction)s?\b|example(?=\s\d))"
    r"(?!\s+(?:is|solved|solving|solution|analysis|breakdown)\b)"
)
ASKER = r"(?:user|human|student|system|q)\s?\d{0,3}(?![\w'’])"

# A line that opens a question or the asker's turn: it holds nothing else, or a colon follows
# ("Question 2:", "<|user|>", "Q1."), or the word begins a Markdown heading or bold text ("###
# Question", "**Problem 2** Ben has").
OPENS_QUESTION = re.compile(rf"""(?ix) \s{{0,9}}(?:\#|\*\*|__)[\W_]{{0,9}}(?:{ASKING}|{ASKER})
    | [\W_]{{0,20}}(?:<\|?\w{{1,20}}\|?>[\W_]{{0,5}})?
      (?: \[?INST\]
        | {ASKING}(?: [^:]{{0,20}}: | > | [\W\d_]{{0,12}}$ | \s*\d{{0,3}}(?:\d[.)]|\s[-–—]\s) )
        | {ASKER}(?: [\W_]{{0,12}}(?::|$) | [.)]\s ) )""")

# On the same line as its question: "Question: How many? Answer: 72", or only "Question: How many?
# 72".
OPENS_ANSWER = re.compile(
    r"(?i)(?<!\w)(?:(?-i:A)|answer|solution|assistant|response|output)[\W_]{0,6}:|\?(?=\s*\S)"
)

# GSM8K's mark, with no more than a number and its unit: "#### 72 clips", but not "#### 1. Find the
# total".
FINAL_LINE = re.compile(
    r"[\W_]{0,9}#{4}\s*[^\s\w]{0,3}\d(?:[\d,.]*\d)?(?:[.:)]?[\W_]*|%?\s+[^\W\d]\D*)"
)
