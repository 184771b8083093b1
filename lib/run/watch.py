"""What goes on around a training step: a bar that shows it, and an interrupt that waits for its end."""

import signal
import threading
from contextlib import contextmanager


class Bar:
    """A progress bar of tqdm's, in a notebook or a terminal; not shown, it does nothing."""

    def __init__(self, steps, done, shown):
        self.bar = None
        if shown:
            from tqdm.auto import tqdm  # here, since it is slow to import and most callers want none

            self.bar = tqdm(total=steps, initial=done, unit="step")

    def tick(self, text):
        """One more step is done; `text` stands behind the bar."""
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update()

    def close(self):
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()


@contextmanager
def uninterrupted():
    """Let Ctrl-C (a notebook's stop button is one too) wait until the block is done: half an update is no model."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is ever interrupted
        return
    waiting = []
    usual = signal.signal(signal.SIGINT, lambda *call: waiting.append(call))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual or signal.SIG_DFL)
    if waiting and callable(usual):
        usual(*waiting[0])
