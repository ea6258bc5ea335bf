"""SavedModels on CPUs through OpenVINO, one image at a time on every core.

One image's activations stay in a core's cache where a batch's do not, no batch is ever padded, and a vector depends on
nothing but its image. `python -m benchmarks.inference_engines` compares it with TensorFlow and ONNX Runtime. In
float32 its vectors are TensorFlow's (cosine at least 0.9999, `tests/encoders/test_engines.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from catalog.encoder_info import EncoderInfo
from catalog.errors import UsageError
from catalog.extras import require
from encoders.encoder import Encoder, unit_length
from encoders.image_loader import cores

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class CannotConvertError(Exception):
    """OpenVINO does not take this model; TensorFlow may."""


class OpenVinoEncoder(Encoder):
    """A SavedModel of the TF-Hub image feature vector kind, compiled for this machine's CPU."""

    one_by_one = True
    batch_size = 1

    def __init__(
        self,
        path: str,
        size: tuple[int, int] | None,
        precision: str,
        describe: Callable[[tuple[int, int]], EncoderInfo],
    ) -> None:
        """
        Args:
            path: local folder of the SavedModel.
            size: (height, width) of the images where the model does not say.
            precision: `float32` or `bfloat16`.
            describe: the description for an input size; its dimension is found here.

        Raises:
            CannotConvertError: the model is not one image to one vector, or has an operation unknown to OpenVINO.
            UsageError: this CPU does not compute in the precision asked for.
        """
        model = _read(path, size)
        height, width = (int(side) for side in model.input(0).shape[1:3])
        self._compiled = _compile(model, precision)
        self._requests = threading.local()
        info = describe((height, width))
        self.info = replace(info, dimension=len(self._run(np.zeros((1, height, width, 3), np.uint8))))

    def _run(self, image: np.ndarray) -> np.ndarray:
        """The features of one image, uint8 [1, height, width, 3], as float32 [d]."""
        if not hasattr(self._requests, "one"):
            self._requests.one = self._compiled.create_infer_request()
        request = self._requests.one
        request.get_input_tensor().data[:] = image
        request.infer()
        return np.array(request.get_output_tensor().data, np.float32).reshape(-1)

    def encode(self, images: np.ndarray) -> np.ndarray:
        return unit_length(np.stack([self._run(images[row : row + 1]) for row in range(len(images))]))


def _read(path: str, size: tuple[int, int] | None) -> Any:
    """The model with an input of one uint8 image."""
    openvino = require("openvino")
    try:
        model = openvino.Core().read_model(path)
    except RuntimeError as error:
        raise CannotConvertError(str(error).strip().splitlines()[-1]) from None
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise CannotConvertError(f"{len(model.inputs)} inputs and {len(model.outputs)} outputs, expected one of each")
    shape = model.input(0).partial_shape
    if shape.rank.is_dynamic or len(shape) != 4 or model.input(0).element_type != openvino.Type.f32:
        raise CannotConvertError(f"the input is {model.input(0).element_type} {shape}, expected float32 [n, h, w, 3]")
    declared = [None if side.is_dynamic else side.get_length() for side in shape]
    height, width = size or (declared[1] or 224, declared[2] or 224)
    if (declared[1] or height, declared[2] or width) != (height, width):
        raise CannotConvertError(f"it takes {declared[1]} x {declared[2]} pixels, not {height} x {width}")
    try:
        model.reshape([1, height, width, 3])
        steps = openvino.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        steps.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
        return steps.build()
    except RuntimeError as error:
        raise CannotConvertError(str(error).strip().splitlines()[-1]) from None


def _compile(model: Any, precision: str) -> Any:
    openvino = require("openvino")
    wanted = _PRECISIONS.get(precision)
    if wanted is None:
        raise UsageError(f"--precision {precision} is for GPUs; on CPUs it is float32 or bfloat16")
    # A stream of one thread for each core: many images at once, each on one core, the same bits on any number of them.
    # Not pinned, for the threads that decode are not either.
    settings = {
        "INFERENCE_PRECISION_HINT": wanted,
        "NUM_STREAMS": str(cores()),
        "INFERENCE_NUM_THREADS": cores(),
        "ENABLE_CPU_PINNING": False,
    }
    core = openvino.Core()
    if wanted == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UsageError("--precision bfloat16: this CPU does not compute in bfloat16; leave the flag out")
    try:
        return core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise CannotConvertError(str(error).strip().splitlines()[-1]) from None
