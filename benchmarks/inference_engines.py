"""Images per second of what can run a SavedModel on this machine, on pixels that are there already.

`python -m benchmarks.inference_engines --encoder savedmodel:PATH --json` measures, in turn: TensorFlow with batches of
32, OpenVINO one image at a time on every core (float32, and bfloat16 where the processor has it), and ONNX Runtime in
the same way where `onnxruntime` and `tf2onnx` are installed. Cosines are to TensorFlow's vectors.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.report import interleaved, print_report, ratio
from catalog.errors import UsageError
from encoders.encoder import Encoder, unit_length
from encoders.image_loader import cores
from encoders.registry import load_encoder, with_precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True, metavar="SPEC", help="savedmodel:PATH")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    tensorflow = load_encoder(args.encoder, "tensorflow")
    height, width = tensorflow.info.input_size
    images = np.random.default_rng(0).integers(0, 256, (args.images, height, width, 3), dtype=np.uint8)
    ways: dict[str, Callable[[], np.ndarray]] = {
        "tensorflow": lambda: tensorflow.encode(images),
        "openvino": one_by_one(load_encoder(args.encoder, "openvino"), images),
    }
    try:
        low = load_encoder(with_precision(args.encoder, "bfloat16"), "openvino")
        ways["openvino_bfloat16"] = one_by_one(low, images)
    except UsageError:
        pass  # Not on this processor.
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("tf2onnx"):
        ways["onnxruntime"] = onnx_runtime(args.encoder, images)
    vectors = {name: way() for name, way in ways.items()}

    def rate(way: Callable[[], np.ndarray]) -> Callable[[], float]:
        def run() -> float:
            started = time.perf_counter()
            way()
            return len(images) / (time.perf_counter() - started)

        return run

    rates = interleaved(args.rounds, {name: rate(way) for name, way in ways.items()})
    print_report(
        "inference_engines",
        args.json,
        encoder=args.encoder,
        images=args.images,
        images_per_second={name: [round(each, 1) for each in found] for name, found in rates.items()},
        least_cosine={
            name: round(float(np.sum(found * vectors["tensorflow"], axis=1).min()), 6)
            for name, found in vectors.items()
        },
        ratios={f"{name}_over_tensorflow": ratio(found, rates["tensorflow"]) for name, found in rates.items()},
    )


def one_by_one(encoder: Encoder, images: np.ndarray) -> Callable[[], np.ndarray]:
    """Encodes as the embed job does."""

    def run() -> np.ndarray:
        with ThreadPoolExecutor(2 * cores()) as pool:
            return np.concatenate(list(pool.map(lambda row: encoder.encode(images[row : row + 1]), range(len(images)))))

    return run


def onnx_runtime(spec: str, images: np.ndarray) -> Callable[[], np.ndarray]:
    """One session of one thread, called by as many threads as there are cores."""
    import onnxruntime
    import tf2onnx

    from encoders.tensorflow_import import tensorflow

    tf = tensorflow()
    model = tf.saved_model.load(spec.removeprefix("savedmodel:").split("?")[0])

    @tf.function(input_signature=[tf.TensorSpec([None, *images.shape[1:]], tf.uint8, name="pixels")])
    def features(pixels: Any) -> Any:
        return model(tf.cast(pixels, tf.float32) / 255.0)

    converted, _ = tf2onnx.convert.from_function(features, input_signature=features.input_signature, opset=17)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(converted.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def one(row: int) -> np.ndarray:
        return session.run(None, {"pixels": images[row : row + 1]})[0]

    def run() -> np.ndarray:
        with ThreadPoolExecutor(cores()) as pool:
            return unit_length(np.concatenate(list(pool.map(one, range(len(images))))))

    return run


if __name__ == "__main__":
    main()
