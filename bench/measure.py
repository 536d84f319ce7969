"""Runs commands and measures them from outside: wall time, CPU time, peak memory."""

import os
import statistics
import subprocess
import tempfile
import time


class Run:
    """What one run of a command took: wall_s, cpu_s (user and system, of the command alone), peak_mb."""

    def __init__(self, wall_s, usage):
        self.wall_s = wall_s
        self.cpu_s = usage.ru_utime + usage.ru_stime
        self.peak_mb = usage.ru_maxrss / 1024


def run(command, **options):
    """To its end; standard output is thrown away. A failure is an error that shows what the command said."""
    with tempfile.TemporaryFile() as errors:
        started = time.monotonic()
        process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, **options
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        if process.returncode != 0:
            raise RuntimeError(f"{command[0]} failed with {process.returncode}: {errors.read().decode(errors='replace')}")
    return Run(wall_s, usage)


def in_turn(repeat, *measurements):
    """Calls the measurements in turn, A B A B …, so that a change of the machine's speed meets all of them; returns the
    list of results of each."""
    results = [[] for _ in measurements]
    for _ in range(repeat):
        for result, measurement in zip(results, measurements):
            result.append(measurement())
    return results


def median_wall(runs):
    return statistics.median(run.wall_s for run in runs)


def median_cpu(runs):
    return statistics.median(run.cpu_s for run in runs)


def median_ratio(theirs, ours):
    """The median of the pairs' ratios: above 1 where ours is faster."""
    return statistics.median(their.wall_s / our.wall_s for their, our in zip(theirs, ours))
