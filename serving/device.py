"""TensorFlow, imported when it is needed, and the device that it computes on."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from lesions.errors import InputError
from lesions.stack import quiet_import

FLOAT32, BFLOAT16 = PRECISIONS = ("float32", "bfloat16")


def tensorflow() -> ModuleType:
    """Imports TensorFlow, without its start-up messages; they tell a user nothing."""
    quiet_import()
    import tensorflow

    return tensorflow


def has_bfloat16() -> bool:
    """Whether a processor computes here that multiplies in bfloat16 by itself (AVX-512 BF16, AMX).

    Others imitate it, many times slower.
    """
    try:
        features = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(features & {"avx512_bf16", "amx_bf16"}) and not Path("/proc/driver/nvidia").exists()


def compute_in(precision: str) -> None:
    """Makes this process' models multiply in a precision; to be called before the first of them is asked.

    Args:
        precision: float32, or bfloat16, which is for networks: TensorFlow rewrites the graph where that is safe.

    Raises:
        InputError: None of these, or bfloat16 and this machine has it not.
    """
    if precision not in PRECISIONS:
        raise InputError(f"--precision: expected {' or '.join(PRECISIONS)}, found {precision!r}")
    check_precision(precision)
    # Said for float32 too, lest what another caller of this process chose hold on.
    chosen = {"auto_mixed_precision_onednn_bfloat16": precision == BFLOAT16}
    tensorflow().config.optimizer.set_experimental_options(chosen)


def check_precision(precision: str) -> None:
    """Raises InputError where this machine does not compute in it by itself."""
    if precision == BFLOAT16 and not has_bfloat16():
        raise InputError(
            "--precision bfloat16: a processor with AVX-512 BF16 or AMX is needed, and no GPU; leave it out"
        )


def gpus() -> list[str]:
    """Names of the GPUs that TensorFlow can use, for example ["NVIDIA H100"]; empty on a CPU alone."""
    tf = tensorflow()
    devices = tf.config.get_visible_devices("GPU")
    return [tf.config.experimental.get_device_details(d).get("device_name", d.name) for d in devices]


def describe() -> str:
    """One word for a run's first line: "cpu", or the GPUs' name ("2 x NVIDIA H100")."""
    names = gpus()
    if not names:
        return "cpu"
    return names[0] if len(names) == 1 else f"{len(names)} x {names[0]}"
