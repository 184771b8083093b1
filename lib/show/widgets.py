"""A figure with sliders that answers one question; a still picture of it where nothing is live."""

import base64
import contextlib
import gc
import html
import sys

from IPython import get_ipython
from IPython.display import display

from lib.show import theme
from lib.show.screen import with_view

# Points an inch while a slider moves: enough to be sharp, few enough to be there at once.
LIVE_DPI = 120


def explore(draw, question, alt=None, **controls):
    """Show draw(**values), a figure, under a question, with a slider or buttons for each value; return the Explorer.

    controls: name=(min, max, step, default) or (min, max, step, default, label): a slider; name=[a, b, c]: choices,
    the first at first; name=([a, b, c], default, label): choices. Numbers to choose from stand on a slider, words on
    buttons. alt: what one sees, with {name} for a control's value; without it the figure's own alt text is taken, or
    what its drawing says in words. In a test or a cell `.set(n=5)` moves a control.

    Raises ValueError for a question that asks nothing, and for a figure without words.

    The output holds a still picture beside the live view, for GitHub, a printed page and where ipywidgets is missing.
    """
    if not question.endswith("?"):
        raise ValueError(f"'{question}' asks nothing: a widget answers one question, and that ends in a question mark")
    explorer = Explorer(draw, question, alt, controls)
    explorer.redraw()
    if get_ipython() is None:
        return explorer
    show_beside(explorer.view(), explorer.figure, explorer.alt)
    return explorer


def show_beside(widget, figure, alt):
    """Show a widget, or None without ipywidgets, and in the same output a still of the figure with its words."""
    if widget is not None and "google.colab" in sys.modules:
        display(widget)  # Colab wires a widget up by itself, and would show the still in its place
        return
    data, metadata = theme.bundle(theme.png(figure), alt)
    display(with_view(data, widget), metadata=metadata, raw=True)


@contextlib.contextmanager
def undisturbed():
    """Hold Python's search for garbage back while a learner waits, but for the last figure, if nobody else has it.

    A figure is a ring of objects, so only that search frees it; left to itself it stops every few moves for 0.2 s, to
    look through torch and all else there is. What is young is looked through here, in milliseconds: the last figure.
    """
    was_on = gc.isenabled()
    gc.collect(1)
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Control:
    """One value that can be moved: a slider's range or a list of choices, a default, a label."""

    def __init__(self, name, spec):
        self.choices, self.range = None, None
        if isinstance(spec, list):
            self.choices, rest = spec, (spec[0],)
        elif isinstance(spec, tuple) and spec and isinstance(spec[0], list):
            self.choices, rest = spec[0], spec[1:]
        elif isinstance(spec, tuple) and len(spec) in (4, 5):
            self.range, rest = spec[:3], spec[3:]
        else:
            raise ValueError(
                f"the control {name} is {spec!r}: give (min, max, step, default, label) or a list of choices"
            )
        self.value, self.label = rest[0], (rest[1] if len(rest) > 1 else name.replace("_", " "))
        self.check(name, self.value)

    def check(self, name, value):
        """Raise ValueError for a value that the control can't have."""
        if self.choices is not None and value not in self.choices:
            raise ValueError(f"{name} = {value!r} is not among its choices {self.choices}: take one of them")
        if self.range is not None and not self.range[0] <= value <= self.range[1]:
            raise ValueError(f"{name} = {value} is outside of {self.range[0]} to {self.range[1]}: choose one inside")

    def snapped(self, value):
        """Return a value that a browser sent, on the slider's grid again: -3 for -3.0000000000000004."""
        if self.range is None or isinstance(value, int):
            return value
        low, high, step = self.range
        return min(high, max(low, round(low + round((value - low) / step) * step, 10)))

    def widget(self, widgets):
        """Return the slider or buttons, with its label and its value in words.

        There is no menu among them: JupyterLab takes its arrow keys away, and goes to the next cell instead.
        """
        row = widgets.Layout(display="flex", flex_flow="row wrap", align_items="center")
        look = {"description": self.label, "style": {"description_width": "initial"}}
        if self.choices is not None:
            look |= {"options": [(str(choice), choice) for choice in self.choices], "value": self.value}
            if all(isinstance(choice, (int, float)) for choice in self.choices):
                return widgets.SelectionSlider(**look, layout=widgets.Layout(width="440px"))
            look["style"]["button_width"] = "auto"
            return widgets.ToggleButtons(**look, layout=row)
        low, high, step = self.range
        whole = all(isinstance(number, int) for number in (*self.range, self.value))
        slider = widgets.IntSlider if whole else widgets.FloatSlider
        return slider(value=self.value, min=low, max=high, step=step, readout=True, continuous_update=True,
                      layout=widgets.Layout(width="440px"), **look)  # fmt: skip


class Explorer:
    """The state of one widget. `.values`, `.figure`, `.alt`, `.error` (words, or None); `.picture` is the PNG shown."""

    def __init__(self, draw, question, alt, controls):
        self.draw, self.question, self.template = draw, question, alt
        self.controls = {name: Control(name, spec) for name, spec in controls.items()}
        self.values = {name: control.value for name, control in self.controls.items()}
        self.figure = self.alt = self.error = self._screen = self._png = None
        self._inputs = {}

    def set(self, **values):
        """Move controls as a learner would, and draw. Raises what the drawing raises, so that a test sees it.

        Raises ValueError for a control that there is not, or a value that it can't have.
        """
        for name, value in values.items():
            if name not in self.controls:
                raise ValueError(f"there is no control {name}; there are {', '.join(self.controls)}: move one of them")
            self.controls[name].check(name, value)
        for name, value in values.items():
            if name in self._inputs:
                self._inputs[name].value = value  # its observer draws
            else:
                self.values[name] = value
        if not self._inputs:
            self.redraw()
        if self.error:
            raise RuntimeError(f"the figure of '{self.question}' at {self.values}: {self.error}")
        return self

    @property
    def picture(self):
        """The PNG bytes of what is shown now."""
        if self._png is None:
            self._png = theme.png(self.figure, LIVE_DPI, small=False)
        return self._png

    def redraw(self):
        """Draw the figure for the values there are."""
        self.figure, self._png = self.draw(**self.values), None
        state = ", ".join(f"{control.label} = {self.values[name]}" for name, control in self.controls.items())
        if self.template:
            self.alt = self.template.format(**self.values)
        else:
            words = getattr(self.figure, "alt_text", None) or getattr(self.figure, "in_words", None)
            if not words:
                raise ValueError(f"the figure of '{self.question}' has no words: give explore an alt='...'")
            self.alt = f"{words} Here {state}."

    def _ipython_display_(self):
        """Show nothing: `explore` has shown it, and a cell may end in its call."""

    def view(self):
        """Return the live form, or None without ipywidgets. It runs on ipywidgets 7 (Colab) and 8."""
        try:
            import ipywidgets as widgets
        except ImportError:
            return None
        self._inputs = {name: control.widget(widgets) for name, control in self.controls.items()}
        for name, widget in self._inputs.items():
            widget.observe(lambda change, name=name: self._moved(name, change["new"]), names="value")
        self._screen = widgets.HTML(self._shown())
        asked = widgets.HTML(f"<b>{html.escape(self.question, quote=False)}</b>")
        return widgets.VBox([asked, *self._inputs.values(), self._screen])

    def _moved(self, name, value):
        """Draw anew after a control moved. An error is shown in the picture's place: silence would help nobody."""
        value = self.controls[name].snapped(value)
        if value == self.values[name] and self.error is None:
            return  # a browser that takes a slider in sends its value back, a hair beside it
        self.values[name], self.figure = value, None
        with undisturbed():
            try:
                self.redraw()
                self.error = None
                self._screen.value = self._shown()
            except Exception as error:
                self.error = f"{type(error).__name__}: {error}"
                words = html.escape(f"This figure can't be drawn here. {self.error}")
                self._screen.value = (
                    f'<pre role="alert" style="{theme.CARD};color:#B00020;white-space:pre-wrap">{words}</pre>'
                )

    def _shown(self):
        """Return the picture as HTML: an Image widget has no alt text. Decoded at once, it does not flicker."""
        margin = round(100 * theme.MARGIN)
        width, height = (round(100 * inches) + 2 * margin for inches in self.figure.get_size_inches())
        source = base64.b64encode(self.picture).decode()
        style = f"{theme.CARD};padding:{margin}px;box-sizing:border-box"
        return (
            f'<img alt="{html.escape(self.alt)}" width="{width}" height="{height}" decoding="sync"'
            f' style="{style};max-width:100%;height:auto" src="data:image/png;base64,{source}">'
        )
