"""The peak of a process with its children: children count, and what has ended by the end of the measurement too."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TAKEN = 200_000_000
# In a process of its own: the tests' own may give hundreds of megabytes back at any moment.
PROGRAM = f"""
import json, subprocess, sys
from pipeline.memory import PeakMemory

with PeakMemory() as before:
    pass
with PeakMemory() as during:
    child = "import time; taken = b'x' * {TAKEN}; time.sleep(2.5)"
    subprocess.run([sys.executable, "-c", child], check=True)
with PeakMemory() as after:
    pass
print(json.dumps([before.peak, during.peak, after.peak]))
"""


def test_what_a_child_took_counts_even_when_it_has_ended():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    before, during, after = json.loads(done.stdout)
    assert TAKEN < during - before < 2 * TAKEN
    assert after - before < TAKEN / 2
