"""Two written questions per lesson with a mark scheme, three points each, for `make_assignment`.

They are public, as everything here is: change numbers and words before you give them a grade.
"""

# What each question earns, one point for each thing that its mark scheme names.
POINTS = 3

# Lesson without its number -> (question, mark scheme).
QUESTIONS = {
    "sampling": [
        (
            (
                "In many models the padding token is also an end token. Why must the mask be"
                " carried from sampling, and not be computed as `ids != pad`? Give a row of five"
                " ids for which the two masks differ."
            ),
            (
                "1 point: the end token was generated and must count. 1 point: `ids != pad` drops"
                " it, so nothing teaches the model to stop. 1 point: a correct row, such as 7 9 2 2"
                " 2 with end and pad 2: 1 1 1 0 0 against 1 1 0 0 0."
            ),
        ),
        (
            (
                "Tokens are sampled at temperature 0.5, and the trainer computes all its log-probs"
                " at temperature 1. Which recorded number shows this before the first update? What"
                " is wrong although every ratio starts at 1?"
            ),
            (
                "1 point: the gap between the sampler's log-probs and the trainer's. 1 point: old"
                " and new log-probs have the same fault, so it cancels in the ratio. 1 point: the"
                " policy that is updated is not the one that sampled."
            ),
        ),
    ],
    "rewards": [
        (
            (
                "A reward pays 1 for a correct answer and 0.2 for the format. Describe an output"
                " that earns reward and solves nothing. When will training find it? Name one change"
                " that prevents it."
            ),
            (
                "1 point: a well-formed output with any number. 1 point: as soon as it is sampled"
                " in a group whose other rewards are lower, its advantage is positive. 1 point: pay"
                " the format only with a correct answer, or another change that removes the gain."
            ),
        ),
        (
            (
                "A reader of answers could take the last answer block, or refuse outputs whose"
                " blocks disagree. Argue for one of them from what a trained model would do."
            ),
            (
                "1 point: says what a policy can gain (several guesses in one output). 1 point: a"
                " concrete output and what each reader pays for it. 1 point: a consistent"
                " conclusion. Refusing is the course's choice; a good argument for the other gets"
                " full points."
            ),
        ),
    ],
    "advantages": [
        (
            (
                "A group of eight answers has one correct one (rewards 1 and 0). Compute the"
                ' advantages of a correct and of an incorrect answer for the scales "none", "std"'
                ' and "leave_one_out", to three digits. What do they have in common?'
            ),
            (
                "1 point: none 0.875 and -0.125. 1 point: std 2.474 and -0.353 (the std is 0.354);"
                " leave_one_out 1 and -0.143. 1 point: they differ only by a factor per group."
            ),
        ),
        (
            (
                "All eight rewards of a group are 0.8, in float32. What must the advantages be?"
                " What can a formula without a special case give, and why does that matter?"
            ),
            (
                "1 point: exactly 0. 1 point: the mean is rounded, so every difference is a tiny"
                " number of one sign, which division by a tiny std makes large. 1 point: all eight"
                " answers are then pushed the same way, for no reason."
            ),
        ),
    ],
    "policy_gradient": [
        (
            (
                "Before the first update of a rollout GRPO's loss is 0. Is its gradient 0 as well?"
                " Explain with a group of two answers."
            ),
            (
                "1 point: no. 1 point: the ratios are 1 and the advantages sum to 0, so the value"
                " is 0. 1 point: the gradient weights each answer's own score by its advantage, and"
                " the scores of two answers differ."
            ),
        ),
        (
            (
                "Why can a baseline be subtracted from the reward if it depends on the prompt but"
                " not on the sampled answer? What does it change?"
            ),
            (
                "1 point: the expectation of the score is 0. 1 point: so the baseline times the"
                " score adds 0 to the expected gradient. 1 point: it changes the variance."
            ),
        ),
    ],
    "ratios": [
        (
            (
                "One completion has 4 tokens, another has 40. In both each token's log-ratio is"
                " 0.1. Compute the token ratios, GSPO's sequence ratios and the products of the"
                " token ratios. Why does GSPO not use the product?"
            ),
            (
                "1 point: 1.105 for every token and for both sequences. 1 point: the products are"
                " 1.49 and 54.6. 1 point: the product grows with the length, so that one range"
                " cannot fit short and long completions."
            ),
        ),
        (
            (
                "You take exactly one update on each rollout. What are the ratios, what does the"
                " clip do, and how do the gradients of GRPO and GSPO differ?"
            ),
            (
                "1 point: exactly 1. 1 point: nothing. 1 point: they do not differ, the gradient of"
                " the sequence ratio at 1 is the mean of the gradients of its token ratios."
            ),
        ),
    ],
    "clipping": [
        (
            (
                "The advantage is -1, the ratio 1.5, the range 0.2 to both sides. What is the"
                " objective, what is its gradient with respect to the ratio, and why is that what"
                " one wants?"
            ),
            (
                "1 point: min(-1.5, -1.2) = -1.5. 1 point: -1. 1 point: a bad token has become"
                " likelier, and the gradient that undoes it must stay."
            ),
        ),
        (
            (
                "A run reports a clip fraction of 0 at every update. Name two different causes, and"
                " one number for each that would confirm it."
            ),
            (
                "2 points: two causes, such as one update per rollout, a range far too wide for the"
                " ratios, a learning rate near 0. 1 point: confirming numbers (updates per rollout,"
                " spread of the ratios, change of the weights)."
            ),
        ),
    ],
    "loss": [
        (
            (
                "Two incorrect answers have 10 and 90 tokens and the same advantage. Compute the"
                ' weight of one token of each under "sequence_mean", "token_mean" and "constant"'
                " with a budget of 100. Which of them makes long incorrect answers cheap?"
            ),
            (
                "1 point: sequence_mean 1/20 and 1/180. 1 point: token_mean 1/100 for both,"
                " constant 1/200 for both. 1 point: sequence_mean, a token of the long answer is"
                " pushed a ninth as hard."
            ),
        ),
        (
            (
                "Which of the KL estimates k1 and k3 can be negative at a token? What do the two"
                " have in common, and under which condition?"
            ),
            (
                "1 point: k1. 1 point: k3 = exp(x) - x - 1 is never negative. 1 point: the same"
                " expectation, the KL, if the tokens were sampled from the policy itself."
            ),
        ),
    ],
    "trainer": [
        (
            (
                "A trainer computes the old log-probs anew before each update instead of once per"
                " rollout. Which dials show it, and what is lost?"
            ),
            (
                "1 point: ratios of 1 and a clip fraction of 0 at every update. 1 point: the clip"
                " never acts. 1 point: samples of an older policy are used as if the current one"
                " had drawn them, without a correction."
            ),
        ),
        (
            (
                "Take one run of your bug hunt. Name the dial that decided it, with its values at"
                " step 1 in this run and in the healthy one, two suspects that it excludes, and why"
                " step 1 is a fair comparison."
            ),
            (
                "1 point: the dial with both values. 1 point: two suspects, each with a reason. 1"
                " point: at step 1 all runs look at the same rollout of the same model."
            ),
        ),
    ],
    "train_all_three": [
        (
            (
                "Two methods end at 94.7 % and 95.2 % of the same 200 problems, with three seeds"
                " each. The 95 % interval of the difference goes from -3.8 to 2.8 points. What can"
                " you conclude, and what would you need for a ranking?"
            ),
            (
                "1 point: no ranking, the interval holds 0. 1 point: it excludes differences of"
                " more than about 4 points. 1 point: more seeds (and problems), with a number or a"
                " way to compute it."
            ),
        ),
        (
            (
                "In a run the strict accuracy rises by 40 points and the lenient accuracy by 5."
                " What has the model learnt? Which baseline would you report beside it?"
            ),
            (
                "1 point: mostly the format. 1 point: the lenient gain is what it can solve more. 1"
                " point: the lenient accuracy of the start model, or a prompt with examples of the"
                " format."
            ),
        ),
    ],
    "scaling_up": [
        (
            (
                "How many GB do weights, gradients and AdamW's moments of 1.5 billion parameters"
                " take in float32? How many with LoRA, if 1 % of the parameters are trained beside"
                " the frozen model? What is left out?"
            ),
            (
                "1 point: 24 GB. 1 point: 6 GB and 0.24 GB, together 6.24 GB. 1 point: activations,"
                " or the cache of sampling."
            ),
        ),
        (
            (
                "Why does sampling 16 completions side by side take hardly longer than sampling"
                " one? When does that end?"
            ),
            (
                "1 point: each token needs all weights from memory once, whatever the number of"
                " rows. 1 point: the reading is the bottleneck, not the products. 1 point: it ends"
                " when the products take as long as the reading."
            ),
        ),
    ],
}
