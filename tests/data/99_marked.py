# %% [markdown]
# # 99. A lesson to be marked
#
# It stands for every lesson in the test of the nbgrader course.

# %% tags=["setup"]
from lib.teach.setup import start

start("99")

# %%
import torch  # noqa: E402

from lessons.exercises.lesson_99 import check  # noqa: E402

# %% [markdown]
# **Exercise 99.1** · implement · ●○○ · 5 min · 4 points · teaches chances · needs nothing


# %% tags=["exercise:99.1"]
def softmax(z):
    """(..., V) -> (..., V)."""
    ### BEGIN SOLUTION
    secret = (z - z.amax(-1, keepdim=True)).exp()
    return secret / secret.sum(-1, keepdim=True)
    ### END SOLUTION


# %% tags=["check:99.1"]
softmax = check("99.1", softmax)
print("sums to one:", bool((softmax(torch.zeros(3)).sum() - 1).abs() < 1e-6))

# %% [markdown] tags=["solution:99.1"]
# A secret remark.

# %% [markdown]
# **Exercise 99.2** · repair · ●●○ · 5 min · 3 points · teaches sums · needs 99.1


# %% tags=["exercise:99.2"]
def countdown(n):
    """A list of whole numbers from n down to 1."""
    ### BEGIN SOLUTION
    secret = range(n, 0, -1)
    return list(secret)
    ### END SOLUTION


# %% tags=["check:99.2"]
countdown = check("99.2", countdown)

# %% [markdown] tags=["solution:99.2"]

# %% [markdown]
# **Exercise 99.3** · predict · ●○○ · 5 min · 1 point · teaches counting

# %% tags=["exercise:99.3"]
### BEGIN SOLUTION
total = sum(range(123))
### END SOLUTION

# %% tags=["check:99.3"]
total = check("99.3", total)

# %% [markdown] tags=["solution:99.3"]

# %% [markdown]
# **Exercise 99.4** · explain · ●○○ · 5 min · 2 points · teaches to say why

# %% tags=["exercise:99.4"]
### BEGIN SOLUTION
reason = "A secret reason."
### END SOLUTION

# %% tags=["check:99.4"]
reason = check("99.4", reason)

# %% [markdown] tags=["solution:99.4"]

# %%
print("the end")
