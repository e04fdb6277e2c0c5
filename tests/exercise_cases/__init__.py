"""Wrong answers to the exercises: the checks must reject each of them, and say why.

For the author of chapter N: write `chNN.py` here with one dictionary,

    WRONG = {
        "5.1": [
            ("softmax over the other axis", lambda m: torch.softmax(m, dim=-2)),
            ("no softmax", lambda m: m),
            ("softmax of the negative", lambda m: torch.softmax(-m, dim=-1)),
        ],
        …
    }

At least three wrong answers an exercise, with labels that say the mistake: the mistakes a student makes, not
nonsense. An answer is what the exercise asks for: a function, a class, a value. tests/test_exercises.py then
checks, for every exercise of every notebook: the notebook's solution passes, each wrong answer is rejected
with a message, the bare stub is "not attempted yet", and exercises, checks and cases are the same set.

The solution and the stub are lifted out of the notebook: of the cells before them only imports, functions and
classes are executed. So they use nothing else of their chapter, no variable of an earlier cell.
"""
