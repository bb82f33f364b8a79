"""The peak of a process with its children: children count, and what has ended by the end of the measurement too."""

import subprocess
import sys

from pipeline.memory import PeakMemory

TAKEN = 200_000_000
CHILD = f"import time; taken = b'x' * {TAKEN}; time.sleep(2.5)"


def test_what_a_child_took_counts_even_when_it_has_ended():
    with PeakMemory() as before:
        pass
    with PeakMemory() as during:
        subprocess.run([sys.executable, "-c", CHILD], check=True)
    with PeakMemory() as after:
        pass
    assert TAKEN < during.peak - before.peak < 2 * TAKEN
    assert after.peak - before.peak < TAKEN / 2
