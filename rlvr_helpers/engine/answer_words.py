"""Words around an answer: those that make its number another one, and those that open a
question."""

import re

# --- what changes the number of an answer (`rewards.parse_number`)

# Arithmetic and magnitudes: the value is not that of the digits.
CHANGES = """
    minus plus negative neg less half halve halves halved double doubles doubled doubling treble
    triple triples tripled quadruple quadrupled quintuple quintupled sextuple sextupled twice thrice
    squared squaring cubed cubing sqrt root factorial factorials raised rounded reduce mod modulo
    itself reversed subtract subtracted subtracting divided dividing multiply multiplied multiplying
    multiple multiples reciprocal inverse opposite hex hexadecimal octal binary thirds tens dozen
    dozens hundred hundreds thousand thousands milliard milliards myriad lakh lakhs lac lacs crore
    crores k bn mn mln mio mrd mil mill mille permille
"""
# Bounds, guesses and alternatives: the value can be another.
LOOSENS = """
    or than below almost nearly roughly practically virtually approx approximately approximate circa
    estimate estimated estimates barely hardly rarely seldom exceed exceeds exceeding surpass
    surpasses thereabouts unlikely improbable doubt doubts doubtful unsure
"""
DENIES = """
    no not nope none nor neither never without cannot unless except exclude excludes excluded
    excluding barring wrong wrongly incorrect incorrectly false falsely untrue mistake mistaken
    mistakenly erroneous inaccurate invalid impossible deny denies denied reject rejects rejected
    refuted disproved disproven isnt arent wasnt werent dont doesnt didnt cant wont unequal unlike
    error miscalculation bogus contradiction hasnt havent hadnt wouldnt couldnt shouldnt aint
"""
# Wherever they stand.
CHANGES_VALUE = frozenset((CHANGES + LOOSENS + DENIES).split())
# The same in several words. \ and ^ too, since a LaTeX command or an exponent can do anything.
PHRASES = re.compile(
    r"""(?ix) [\\^] | n['’]t\b | illions?\b | (?:two|three|four|five|six|ten|dred|sand)fold\b
    | \b(?:at\s(?:the\s)?(?:very\s)?(?:least|most|best|worst)
    | (?:short|shy|instead|excess|lieu)\sof | close\sto | far\sfrom | ruled\sout
    | out\sof\sthe\squestion | fails?\sto | is\soff
    | in\splace\sof | opposed\sto | (?:in|de)creased\sby | times\s[b-z])\b
    | \b(?:added|adding|addition|compared|relative)\sto\s(?:the\s)?(?=\S?\d)
    | \btoo\s(?:high|low|large|small|big|many|much|few|little)\b | \bbase-
    | (?<!add\s)(?<!adds\s)(?<!added\s)(?<!sums\s)\bup\sto\b
    | \bto\sthe\s(?:\S+\s)?power\b | \bto\s(?:one|the\s(?:n-?|four|fif|six|ten)th)\W*$
    | \b(?:quarter|third)s?\sof\b
    | (?:four|fif|six|seven|eigh|nin|ten|teen|tie|dred|sand|illion)th(?:s|s?\sof)\b"""
)

# Directly before the number these change it too: "about 72", "a quarter of 72". Elsewhere they may
# belong to a sentence.
BEFORE = frozenset(
    "about above abs any approaches approaching around ballpark between beyond but c ca ceil"
    " closer complement cos cosine couple cube either est exp factor few floor fraction from ln log"
    " logarithm many max maximum min minimum most much near neighborhood neighbourhood non north"
    " one out over part past per percent percentage point portion power quarter region rest"
    " scarcely several share sin sine some south square tan tangent third times under upward"
    " upwards vicinity within x".split()
)
# These can stand between: "one of the 72", "a quarter to 12".
LINKS = frozenset("a an as in of only just the to".split())

# Directly after it: letters for thousands and millions, variables (`72 m` is a length), "72% off".
LETTERS = frozenset("beijnoqruvwxyzπBDEGHKMOPQRSTUXYZ") | set("pi MM cr fold thou off".split())
# The last word, directly after it: "72 odd". In "72 odd numbers" it belongs to the unit.
LAST = frozenset(
    "grand gross ish max maximum minimum odd onward onwards over score something tops under up"
    " upward upwards".split()
)
# "72 and a bit"
AND_MORE = frozenset(
    "a above an below beyond change counting fewer greater higher lower more older one onward"
    " onwards over some then under up upward upwards x younger".split()
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
    r"(?:[mck]?m|in|ft|yd|mi|m?g|kg|lbs?|oz|t|m?[lL]|gal|pt|qt|m?s|secs?|mins?|h|hrs?"
    r"|k?Wh?|V|k?Hz|[kMG]B|kcal|mph|kph|°[CF]|[°%])?"
    r"(?:/(?:[a-z]{3,}|h|hr|s|kg|g|m|km|l|lb))?"
)

# --- where the first answer begins and ends (`rewards.lenient_answer`)

# What a chat template writes at the end of a turn.
TURN_END = r"</s>|<end_of_turn>|<\|(?:im_end|end|eo[ts]|eot_id|endoftext|end_of_text)\|>"
# Where a line ends: also between turns, before a question that follows a sentence, and before
# GSM8K's mark.
LINE_END = re.compile(
    rf"""(?ix) \r\n? | \n | (?=\[INST\]|<s>|<\|\w{{1,20}}\|>|<start_of_turn>|{TURN_END})
    | (?<!\#)(?=\#{{4}}(?!\#))
    | (?<!\n\d[.)])(?<=[.!?)*])[ ]+(?=[\#*_]{{0,4}}[ ]?(?:(?:next|new)\s)?
      (?:question|problem|q|user|human)\s?\d{{0,3}}[*_]{{0,2}}:)"""
)

# Who or what asks. "### Problem breakdown" is the start of a solution.
ASKING = (
    r"(?:here(?:\s+is|['’]s)\s+(?:(?:an?|the)\s+)?)?"
    r"(?:(?:next|new|another|second|follow-?\s?up|bonus|extra|related|challenge|practice|similar"
    r"|math|word|user)\s+){0,2}"
    r"(?:(?:question|problem|exercise|query|prompt|instruction|input|task)s?\b|example(?=\s\d)"
    r"|(?<=another\s)example|your\sturn|follow-?\s?up)"
    r"(?!\s+(?:is|solved|solving|solution|analysis|breakdown)\b)"
)
ASKER = r"(?:user|human|student|system|q)\s?\d{0,3}(?![\w'’])"
# What can stand between it and the colon: "Question (easy):", "Problem no. 3:".
NUMBERED = (
    r"(?:\s?\([^:)]{0,20}\)|\s?(?:no\.?|number)?\s?[#№]?\s?\d{1,3}"
    r"|\s(?:one|two|three|four|five|statement|text))?"
)

# A line that opens a question or the asker's turn: it holds nothing else, or a colon follows
# ("Question 2:", "<|user|>", "Q1."), or the word begins a Markdown heading or bold text ("###
# Question", "**Problem 2** Ben has").
OPENS_QUESTION = re.compile(rf"""(?ix)
      \s{{0,9}}(?:\#|\*\*|__)[\W_]{{0,9}}(?:{ASKING}|{ASKER})(?!\s(?:in|on|at|of|for|per|left)\b)
    | {TURN_END} | [\W_]{{0,20}}(?:(?:<\|?\w{{1,20}}\|?>|\\\w{{1,9}}\*?|\d{{1,2}}[.)])[\W_]{{0,5}})?
      (?: \[?INST\] | (?:customer|client)[*_]{{0,2}}(?:[:：]|\W*$)
        | {ASKING}(?: {NUMBERED}[\W_]{{0,9}}[:：] | > | (?:</\w{{1,9}})?[\W\d_]{{0,12}}$
                    | \s*\d{{0,3}}(?:\d[.)]|\s[-–—]\s) )
        | {ASKER}(?:\s(?:says|asks))?(?: [\W_]{{0,12}}(?:[:：>]|$) | [.)]\s ) )""")

# On the same line as its question: "Question: How many? Answer: 72", or only "Question: How many?
# 72".
OPENS_ANSWER = re.compile(
    r"(?i)(?<!\w)(?:(?-i:A)|answer|solution|assistant|response|output)[\W_]{0,6}:|\?(?=\s*\S)"
    r"|\[/INST\]"
)

# GSM8K's mark, with no more than a number and its unit: "#### 72 clips", but not "#### 1. Find the
# total".
FINAL_LINE = re.compile(
    r"(?i)[\W_]{0,9}#{4}\s*(?:(?:the\s)?(?:final\s)?answer(?:\sis)?\b)?[\W_]{0,6}"
    r"\d(?:[\d,.]*\d)?(?:[.:)]?[\W_]*|%?\s+[(\[]?[^\W\d]\D*)"
)
