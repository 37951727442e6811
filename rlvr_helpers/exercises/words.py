"""The words of `check`, `hint` and the progress tables. A name in braces is filled in."""

from rlvr_helpers.kit.language import translated

WORDS = translated(
    {
        # What was handed to check.
        "no_function": '{name}: give check the function itself, as in check("{name}", {name})',
        "not_attempted": (
            "{name}: not attempted yet ({minutes} minutes, difficulty {difficulty} of 3)"
        ),
        "ours": (
            "{name}: this is the course's own function. Run the cell that defines yours, then"
            " check that one."
        ),
        # The report: the result first, then what to try.
        "right": "{name}: right",
        "not_yet": "{name}: not yet right",
        "every_case": "in every case, here the first: {error}",
        "the_call": "the call: {call}",
        "gradient": "{value}; gradient {gradient}",
        "gradient_detail": "gradient, {detail}",
        "in_place": (
            "Your function changes its input in place: make a new tensor, as in x = x * 2 rather"
            " than x *= 2."
        ),
        "endless": (
            "Is there a loop that never ends? See what makes its condition false. Slow code: use"
            " tensors, not loops."
        ),
        "likely": "Likely: {message}",
        "hints": 'There are {n} hints: hint("{name}"), after from rlvr_helpers import hint',
        "hint": "Hint {number} of {n}: {text}",
        "all_hints": 'These were all. One way to write it: solution("{name}")',
        # What ended a call.
        "late": "stopped after {seconds:g} s{line}",
        "still_running": "still running after {seconds:g} s, and until you restart the kernel",
        "raised": "raised {error}{line}",
        "line": ", in line {number}: {line}",
        # A value beside the expected one.
        "exact": "exact",
        "close": "close (equal up to rounding)",
        "expected": "expected {expected}, yours is {yours}",
        "no_return": "{text}; is a `return` missing?",
        "items": "expected {expected} items, yours has {yours}",
        "item": "item [{i}]",
        "shape": "expected shape {expected}, yours is {yours}",
        "places": "{n} of {all} places differ",
        "nan": "NaN where a number belongs",
        "difference": "largest difference {distance:.3g}",
        "row": "{text} (row {row})",
        "wrong_row": "first wrong row, {row}: expected {expected}, yours {yours}",
        "cut_off": (
            "none: .detach(), .item(), torch.tensor() or no_grad() cut your result off from its"
            " input"
        ),
        "flows": "flows through {names} too, which must be a constant: .detach() it",
        "and": " and ",
        # What a value is.
        "floats": "a tensor of floats",
        "booleans": "a tensor of booleans",
        "complex": "a tensor of complex numbers",
        "integers": "a tensor of integers",
        "bool": "True or False",
        "number": "a number",
        "string": "a string",
        "list": "a list or tuple",
        "type": "of type {name}",
        # Whose function the lesson goes on with.
        "yours": "From here on: your own {name}.",
        "courses": "From here on: the course's {name}, until yours is correct.",
        # Progress.
        "done": "done",
        "done_after_hints": "done after hints",
        "solution_seen": "solution seen",
        "tried_once": "tried 1 time",
        "tried": "tried {n} times",
        "untried": "not attempted",
        "unreadable": (
            "({file} could not be read. It is kept as {aside}, and progress starts anew.)"
        ),
        "unwritable": (
            "(progress is kept for this session only: {file} cannot be written, {reason})"
        ),
        "some_done": "{done} of {n} done",
        "some_made": "{made} of {n} made, {close} close",
        "some_correct": "{correct} of {n} correct",
        "exercises_done": "{done} of {n} exercises done",
        "exercise_head": ("exercise", "minutes", "difficulty", "state"),
        "lesson_head": ("lesson", "exercises", "predictions", "quiz"),
    }
)
