"""Imports TensorFlow without its start-up notices, which no log level turns off, and without hiding a failure."""

from __future__ import annotations

import functools
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
            tf.config.list_physical_devices("GPU")  # Looks for a driver now rather than at the first batch.
        except BaseException:
            os.dup2(kept, 2)
            notices.seek(0)
            os.write(2, notices.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    return tf
