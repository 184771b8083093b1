"""One output of a cell that changes while the cell runs, and stays behind as a still: no thousand outputs."""

from IPython import get_ipython
from IPython.display import display

VIEW = "application/vnd.jupyter.widget-view+json"


def with_view(data, widget):
    """Return an output's data with a widget, or None, beside it: what is live takes the widget, all else the data."""
    if widget is None:
        return data
    return data | {VIEW: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}}


class Screen:
    """A place in a notebook that shows HTML. Live it is a widget; `finish` leaves a still for GitHub and printed pages.

    It runs on ipywidgets 7 (Colab) and 8. Outside of a notebook nothing is shown.
    """

    def __init__(self, html=""):
        self.live = self.handle = None
        if get_ipython() is not None:
            self.live = _widget(html)
            self.handle = display(self._bundle(html, ""), raw=True, display_id=True)

    def show(self, html):
        """Show this now, in place of what was shown before."""
        if self.live is not None:
            self.live.value = html

    def finish(self, still, text, live=None):
        """Leave `still`, HTML without a script, and `text` where no HTML is shown. live: what the widget shows then."""
        if self.handle is not None:
            self.show(still if live is None else live)
            self.handle.update(self._bundle(still, text), raw=True)

    def _bundle(self, html, text):
        return with_view({"text/html": html, "text/plain": text}, self.live)


def _widget(html):
    try:
        import ipywidgets
    except ImportError:
        return None
    return ipywidgets.HTML(html)
