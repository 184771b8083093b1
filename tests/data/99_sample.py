# %% [markdown]
# # 99. A sample lesson builds
#
# It stands for every lesson in the tests of the builder. See [the map](../README.md) and [lesson 98](98_other.ipynb).

# %% tags=["setup"]
from lib.teach.setup import start

start("99")

# %% [markdown]
# **Exercise 99.1** · implement · ●○○ · 5 min · teaches doubling · needs nothing
#
# <details><summary>Hint 1</summary>
#
# Add.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Add x to x.
#
# </details>

# %% tags=["exercise:99.1", "builds:lib.sample.double"]
from lessons.exercises.lesson_99 import check  # noqa: E402


def double(x):
    """Return twice x."""
    if x:
        ### BEGIN SOLUTION
        secret = x + x
        return secret
        ### END SOLUTION
    return 0


# %% tags=["check:99.1", "nbval-check-output"]
double = check("99.1", double)

# %% [markdown] tags=["solution:99.1"]
# Twice is once more.

# %% [markdown]
# **Exercise 99.2** · predict · ●●○ · 5 min · teaches counting

# %% tags=["exercise:99.2"]
### BEGIN SOLUTION
first, answer = 1, 0
for i in range(4):
    answer += i
### END SOLUTION

# %% tags=["check:99.2"]
answer = check("99.2", answer)

# %% [markdown] tags=["solution:99.2"]

# %%
from lib.show.predict import predict  # noqa: E402

guess = predict("99.a", "What is `2 < 3`?", ["true", "false"])

# %% tags=["nbval-check-output"]
guess.reveal("true", because="two is less.")

# %%
import sys  # noqa: E402
import time  # noqa: E402

for i in range(3):
    print(f"\r{i * 50}%|{'#' * i}| {i}/2 [00:00<?, ?it/s]", end="", file=sys.stderr, flush=True)
    print(i, flush=True)
    time.sleep(0.05)

# %%
from IPython.display import display  # noqa: E402

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
still = {"image/png": PIXEL, "text/plain": "one pixel"}
view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1", "version_major": 2, "version_minor": 0}}
display(still | view, raw=True, metadata={"image/png": {"alt": "one pixel"}})

# %%
import os  # noqa: E402

os.path.basename(os.getcwd()), double(4), answer
