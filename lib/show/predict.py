"""Predict before you run: a question with choices, answered by a click where the notebook is live."""

import html
import re

from IPython import get_ipython
from IPython.display import display

from lib.show.screen import with_view


def predict(id, question, choices):
    """Show a question and its choices, and return the Guess that will hold what was clicked.

    Live, in a notebook with ipywidgets, the choices are buttons, none pressed. Everywhere else (GitHub, a printed page,
    a test) the same output holds the question as text. `code` and $formulas$ are allowed in both.

    >>> guess = predict("04.a", "How does the score change?", ["it grows", "it stays"])
    Predict 04.a: How does the score change?
      ( ) it grows
      ( ) it stays
    >>> guess.choose("it grows")
    >>> guess.reveal("it stays")
    You said "it grows", but it is "it stays".
    """
    guess = Guess(id, question, choices)
    if get_ipython() is None:
        print(guess.text())
        return guess
    display(with_view({"text/html": guess.html(), "text/plain": guess.text()}, guess.buttons()), raw=True)
    return guess


class Guess:
    """One question, its choices, the choice made (None until a button is pressed), and the answer once it is known."""

    def __init__(self, id, question, choices):
        self.id, self.question, self.choice, self.answer, self.because = id, question, None, None, ""
        self.choices = [str(choice) for choice in choices]
        if len(set(self.choices)) != len(self.choices) or len(self.choices) < 2:
            raise ValueError(f"{id} has the choices {self.choices}: give at least two, all different")
        self.toggle = self.said = None

    def choose(self, choice):
        """Make or change the guess: what a click on a button does, and what one can call where there are no buttons."""
        if choice is None:
            return
        self.choice = self._one_of_mine(choice)
        if self.answer is not None:  # the cells below have run already, by Run All
            self._tell(_inline(self.verdict()), final=True)
        else:
            self._tell(f"You say: {_inline(self.choice)}. Now run the next cells.")

    def reveal(self, answer, because=""):
        """Say whether the guess was right, and why. Raises ValueError, where the answer is no choice.

        Without a guess the answer stays in a fold: whoever ran all cells at once can still choose above.
        """
        self.answer, self.because = self._one_of_mine(answer), because
        if self.choice is not None:
            self._tell("", final=True)
            print(self.verdict())
        elif get_ipython() is None:
            print(self.verdict())
        else:
            self._tell("The answer is here: choose, and see.")
            fold = f"<details><summary>The answer to {self.id}</summary>{_inline(self.verdict())}</details>"
            display({"text/html": fold, "text/plain": f"The answer to {self.id}: {self.verdict()}"}, raw=True)

    def verdict(self):
        """Return what there is to say about the guess, once the answer is known."""
        if self.choice is None:
            verdict = f'It is "{self.answer}".'
        elif self.choice == self.answer:
            verdict = f'Right: it is "{self.answer}".'
        else:
            verdict = f'You said "{self.choice}", but it is "{self.answer}".'
        return f"{verdict} {self.because}".strip()

    def _tell(self, words, final=False):
        if self.toggle is not None:
            self.said.value = words or self.said.value
            self.toggle.disabled = final

    def text(self):
        """Return the question and its choices as plain text."""
        return "\n".join([f"Predict {self.id}: {self.question}", *(f"  ( ) {choice}" for choice in self.choices)])

    def html(self):
        """Return the question and its choices as HTML that needs no script."""
        items = "".join(f"<li>{_inline(choice)}</li>" for choice in self.choices)
        return f"<p>{self._question()}</p><ul>{items}</ul>"

    def buttons(self):
        """Return the live form, or None without ipywidgets. It runs on ipywidgets 7 (Colab) and 8."""
        try:
            import ipywidgets as widgets
        except ImportError:
            return None
        # index=None: no button is pressed before the learner presses one.
        options = [(choice.replace("`", ""), choice) for choice in self.choices]  # a button shows plain text
        self.toggle = widgets.ToggleButtons(options=options, index=None, style={"button_width": "auto"})
        self.toggle.observe(lambda change: self.choose(change["new"]), names="value")
        self.said = widgets.HTMLMath("")
        return widgets.VBox([widgets.HTMLMath(self._question()), self.toggle, self.said])

    def _question(self):
        return f"<b>Predict {self.id}</b> {_inline(self.question)}"

    def _one_of_mine(self, answer):
        if str(answer) not in self.choices:
            mine = ", ".join(f'"{choice}"' for choice in self.choices)
            raise ValueError(f'"{answer}" is not among the choices of {self.id}, {mine}: give one of them')
        return str(answer)


def _inline(text):
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
