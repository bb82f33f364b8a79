"""A real model server in a process of its own, and small SavedModels for it to serve."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


class Process:
    """`raxnet serve`, as a person starts it."""

    def __init__(self, models, words, lines, token=None, errors=subprocess.PIPE):
        command = [sys.executable, "-m", "pipeline.cli.main", "serve", *map(str, models), "--port", "0"]
        environment = {**os.environ, **({"RAXNET_TOKEN": token} if token else {})}
        self.process = subprocess.Popen(
            [*command, *map(str, words)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        self.said = [self.process.stdout.readline() for _ in range(lines)]
        assert self.said[-1], self.process.communicate()[1]

    def ask(self, line):
        """Asks the server that a line names."""
        self.greeting = self.said[line]
        self.url = self.greeting.split()[-1]
        self.port = int(self.url.rsplit(":", 1)[1])
        self.client = httpx.Client(base_url=self.url, timeout=120, trust_env=False)

    def worker(self):
        """Process number of the child that runs TensorFlow."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        names = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
        (found,) = [int(pid) for pid, name in names.items() if "spawn_main" in name]
        return found

    def stop(self):
        """(exit status, standard error) after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=60)
        self.client.close()
        return self.process.returncode, errors


class Server(Process):
    """Its model server."""

    def __init__(self, models, *words, token=None):
        super().__init__([models, "--rest-port", "0"], words, 2, token)
        self.ask(0)

    def predict(self, model, content, **more):
        return self.client.post(f"/v1/models/{model}:predict", json=content, **more)


class Gateway(Process):
    """Its gateway, with a model server of its own (`models`) or another one's; it logs to a file."""

    def __init__(self, *words, models=None, server=None, token=None):
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        if models:
            super().__init__([models, "--rest-port", "0"], words, 2, token, self.errors)
        else:
            super().__init__(["--server", server], words, 1, token, self.errors)
        self.ask(-1)

    def log(self):
        """What it said on standard error."""
        self.errors.seek(0)
        return self.errors.read()

    def stop(self):
        """(exit status, standard error) after SIGTERM."""
        return super().stop()[0], self.log()


def save(folder, function, *specs, **more):
    """Writes a function as a SavedModel with the signature serving_default, and further ones by name."""
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(1.0)
    signatures = {"serving_default": tf.function(function, input_signature=specs)}
    signatures |= {name: tf.function(f, input_signature=s) for name, (f, *s) in more.items()}
    module.functions = signatures
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def save_half_plus_two(folder, offset=2.0):
    """TensorFlow Serving's test model y = x / 2 + 2, of any shape."""
    import tensorflow as tf

    return save(folder, lambda x: {"y": x / 2 + offset}, tf.TensorSpec(None, tf.float32, "x"))


def save_zoo(folder):
    """One model with a signature for each thing that a tensor can be."""
    import tensorflow as tf

    def image(slices):
        return {"probabilities": slices * 2}

    def packed(slices_bytes):
        return {"probabilities_bytes": slices_bytes}

    def two(a, b):
        return {"sum": a + b, "none": tf.fill(tf.shape(a), float("nan"))}

    def fails(x):
        with tf.control_dependencies([tf.debugging.assert_less(x, 0.0, "too large")]):
            return {"y": tf.identity(x)}

    # A convolution of a wrong rank ends the process (docs/spec/tensorflow_serving.md#process-death).
    def dies(x):
        kernel = tf.ones([3, 3, 1, 1])
        return {"y": tf.raw_ops.Conv2D(input=x, filter=kernel, strides=[1, 1, 1, 1], padding="SAME")}

    def slow(n):  # for so many milliseconds, however quick the machine
        end = tf.timestamp() + tf.cast(n[0], tf.float64) / 1000
        (work,) = tf.while_loop(lambda x: tf.timestamp() < end, lambda x: [x @ x], [tf.zeros([50, 50])])
        return {"y": tf.fill([1], work[0, 0])}

    strings = tf.TensorSpec([None], tf.string)
    return save(
        folder,
        image,
        tf.TensorSpec([None, 3, 2], tf.float32, "slices"),
        packed=(packed, tf.TensorSpec([None], tf.string, "slices_bytes")),
        words=(lambda words: {"words": words}, strings),
        two=(two, tf.TensorSpec([None], tf.float32, "a"), tf.TensorSpec([None], tf.float32, "b")),
        integers=(lambda n: {"n": n}, tf.TensorSpec([None], tf.uint8, "n")),
        half=(lambda x: {"y": tf.cast(x, tf.float16)}, tf.TensorSpec([None], tf.float32, "x")),
        scalar=(lambda x: {"y": tf.reduce_sum(x)}, tf.TensorSpec([None], tf.float32, "x")),
        fails=(fails, tf.TensorSpec([None], tf.float32, "x")),
        dies=(dies, tf.TensorSpec(None, tf.float32, "x")),
        slow=(slow, tf.TensorSpec([1], tf.int32, "n")),
    )
