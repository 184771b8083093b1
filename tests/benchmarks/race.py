"""Race several jobs: rounds go in turn, in an order that is drawn, so that all meet the same noise of the machine.

Each round gives paired ratios; a row of the table is their median, and their middle half as the spread.
"""

import platform
import random
import statistics
import time
from pathlib import Path

import torch


def timed(job):
    """Return what the job returns, its seconds on the clock, and those on the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    result = job()
    return result, time.perf_counter() - clock, time.process_time() - processor


def drawn_orders(names, rounds):
    """Yield all names once a round, in an order that is drawn: the same orders at each call.

    There and back again would not do: who stands at an end would run twice in a row, and find its numbers in the cache.
    """
    draw = random.Random(0)
    for _ in range(rounds):
        yield draw.sample(sorted(names), len(names))


def race(jobs, rounds, warm=2):
    """Run each job once a round; return {name: [(clock, processor) in seconds]}. The first rounds do not count.

    A job is a function, or an `Apart`, which is timed where it runs.
    """
    times = {name: [] for name in jobs}
    for turn, order in enumerate(drawn_orders(jobs, warm + rounds), -warm):
        for name in order:
            _, *seconds = jobs[name].timed() if hasattr(jobs[name], "timed") else timed(jobs[name])
            if turn >= 0:
                times[name].append(seconds)
    return times


def median(times, which=0):
    """Return the median seconds, on the clock (0) or of the processor (1)."""
    return statistics.median(seconds[which] for seconds in times)


def ratios(times, base, which=0):
    """Return lower quartile, median and upper quartile of times / base, pair by pair."""
    pairs = sorted(there[which] / here[which] for there, here in zip(times, base, strict=True))
    quarters = statistics.quantiles(pairs, n=4) if len(pairs) > 1 else 3 * pairs
    return quarters[0], statistics.median(pairs), quarters[-1]


def show(title, times, ours, work=None, unit="ms"):
    """Print a row a job: speed (work a second) or milliseconds, the ratio to ours, its middle half, and the CPU's."""
    print(f"{title:42}{unit:>10}{'ratio':>8}{'middle half':>14}{'CPU':>8}", flush=True)
    for name, seconds in times.items():
        clock = median(seconds)
        figure = 1000 * clock if work is None else work / clock
        low, middle, high = ratios(seconds, times[ours])
        processor = ratios(seconds, times[ours], 1)[1]
        spread = f"{low:.2f} - {high:.2f}"
        print(f"  {name:40}{figure:10,.1f}{middle:8.2f}{spread:>14}{processor:8.2f}", flush=True)


def machine():
    """Say in one line what this is measured on."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    threads = f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    return f"{name}, {threads}, {device}, torch {torch.__version__}, {platform.system()}"
