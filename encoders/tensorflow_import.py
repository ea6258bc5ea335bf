"""Imports TensorFlow without its start-up notices, which no log level turns off, and without hiding a failure."""

from __future__ import annotations

import functools
import glob
import os
import sys
import tempfile
from typing import Any

from catalog.extras import require


@functools.cache
def tensorflow() -> Any:
    """The TensorFlow module, devices found. Raises MissingExtraError when it is not installed."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notices:
        kept = os.dup(2)
        os.dup2(notices.fileno(), 2)
        try:
            tf = require("tensorflow")
            for gpu in tf.config.list_physical_devices("GPU"):  # Looks for a driver now, not at the first batch.
                # Not the whole memory at once: a GPU is often shared by several worker processes.
                tf.config.experimental.set_memory_growth(gpu, True)
        except BaseException:
            os.dup2(kept, 2)
            notices.seek(0)
            os.write(2, notices.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    return tf


@functools.cache
def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU; without importing it (seconds) where the machine has no NVIDIA device."""
    devices = glob.glob("/dev/nvidia[0-9]*") or os.path.exists("/dev/dxg")
    return bool(devices) and bool(tensorflow().config.list_physical_devices("GPU"))
