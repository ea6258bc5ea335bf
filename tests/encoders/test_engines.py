"""Engines agree: a vector says what the model says, whatever ran it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from catalog import storage
from catalog.errors import UsageError
from encoders.openvino_engine import OpenVinoEncoder
from encoders.registry import SPECS, load_encoder, precision_of, with_precision, without_precision
from encoders.tf_function import TensorFlowEncoder


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.sum(one * other, axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def random_images(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_openvino_gives_the_vectors_of_tensorflow_for_a_real_network(shared: Path) -> None:
    from PIL import Image

    spec = f"savedmodel:{shared}/models/mobilenet_v2_100_224"
    photos = sorted((shared / "data" / "clothing" / "images").iterdir())[::50]
    images = np.stack([np.asarray(Image.open(path).convert("RGB").resize((224, 224))) for path in photos])
    ours, theirs = load_encoder(spec, "openvino"), load_encoder(spec, "tensorflow")
    assert isinstance(ours, OpenVinoEncoder)
    assert isinstance(theirs, TensorFlowEncoder)
    assert ours.info == theirs.info
    assert cosines(ours.encode(images), theirs.encode(images)).min() >= 0.9999


def test_engines_agree_on_what_a_model_is_and_gives(tiny_saved_model: Path) -> None:
    ours = load_encoder(f"savedmodel:{tiny_saved_model}", "openvino")
    theirs = load_encoder(f"savedmodel:{tiny_saved_model}", "tensorflow")
    assert ours.info == theirs.info
    images = random_images(40, 32)
    np.testing.assert_allclose(ours.encode(images), theirs.encode(images), atol=1e-5)


def test_a_vector_depends_on_nothing_but_its_image(tiny_saved_model: Path) -> None:
    encoder = load_encoder(f"savedmodel:{tiny_saved_model}", "openvino")
    images = random_images(64, 32)
    together = encoder.encode(images)
    with ThreadPoolExecutor(8) as pool:
        apart = list(pool.map(lambda row: encoder.encode(images[row : row + 1])[0], range(64)))
    assert np.array_equal(together, np.stack(apart))


def test_the_better_engine_is_taken_unless_one_is_named(tiny_saved_model: Path) -> None:
    assert isinstance(load_encoder(f"savedmodel:{tiny_saved_model}"), OpenVinoEncoder)  # These machines have no GPU.
    assert isinstance(load_encoder(f"savedmodel:{tiny_saved_model}", "tensorflow"), TensorFlowEncoder)


def test_a_model_that_openvino_does_not_take_runs_on_tensorflow(tmp_path: Path) -> None:
    from encoders.tensorflow_import import tensorflow

    tf = tensorflow()

    class Unusual(tf.Module):  # type: ignore[misc, name-defined]
        @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 3], tf.float32)])
        def __call__(self, images: object) -> object:
            mean = tf.reduce_mean(images, axis=[1, 2])
            return tf.numpy_function(lambda x: x + np.float32(1), [mean], tf.float32, stateful=False)[:, :3]

    tf.saved_model.save(Unusual(), str(tmp_path / "unusual"))
    spec = f"savedmodel:{tmp_path / 'unusual'}"
    with pytest.raises(UsageError, match=r"openvino does not take savedmodel:.*use --inference-engine tensorflow"):
        load_encoder(spec, "openvino")
    encoder = load_encoder(spec)
    assert isinstance(encoder, TensorFlowEncoder)
    assert encoder.encode(random_images(3, 16)).shape == (3, 3)


def test_lower_precision_is_another_encoder_on_either_engine(tiny_saved_model: Path) -> None:
    full = load_encoder(f"savedmodel:{tiny_saved_model}", "tensorflow")
    spec = with_precision(f"savedmodel:{tiny_saved_model}", "bfloat16")
    low = load_encoder(spec, "tensorflow")
    assert low.info.fingerprint != full.info.fingerprint
    assert low.info.spec == f"savedmodel:{tiny_saved_model}?precision=bfloat16"
    images = random_images(8, 32)
    before = full.encode(images)
    assert cosines(low.encode(images), before).min() > 0.98
    assert np.array_equal(full.encode(images), before)  # The setting is the process's, and is put back.
    assert load_encoder(low.info.spec, "tensorflow") is low


def test_a_precision_that_cannot_be_had_is_refused(tiny_saved_model: Path) -> None:
    elsewhere = load_encoder(f"savedmodel:{tiny_saved_model}?precision=float16")  # As a launcher without a GPU does.
    full = load_encoder(f"savedmodel:{tiny_saved_model}")
    assert (elsewhere.info.dimension, elsewhere.info.input_size) == (full.info.dimension, full.info.input_size)
    assert elsewhere.info.fingerprint != full.info.fingerprint
    assert elsewhere.info.spec.endswith("?precision=float16")
    with pytest.raises(UsageError, match="--precision float16 needs a GPU"):
        elsewhere.encode(random_images(1, 32))
    with pytest.raises(UsageError, match="precision=int4 is unknown; expected one of float32, bfloat16, float16"):
        load_encoder(f"savedmodel:{tiny_saved_model}?precision=int4")
    with pytest.raises(UsageError, match="--precision bfloat16 is for savedmodel: and tfhub: encoders"):
        with_precision("color-histogram", "bfloat16")
    assert with_precision("color-histogram", "float32") == "color-histogram"
    with pytest.raises(UsageError, match="name two precisions"):
        with_precision("savedmodel:/m?precision=float16", "bfloat16")
    assert with_precision("savedmodel:/m?precision=bfloat16", "bfloat16") == "savedmodel:/m?precision=bfloat16"


def test_a_spec_tells_its_precision() -> None:
    assert precision_of("savedmodel:/m?size=224&precision=bfloat16") == "bfloat16"
    assert precision_of("savedmodel:/m") == "float32"
    assert without_precision("savedmodel:/m?precision=bfloat16&size=224") == "savedmodel:/m?size=224"
    assert without_precision("savedmodel:/m?precision=bfloat16") == "savedmodel:/m"
    assert without_precision("tfhub:https://h/m?x=1") == "tfhub:https://h/m?x=1"


def test_the_specs_that_there_are_can_be_told_as_they_are() -> None:
    assert storage.redact_text(SPECS) == SPECS
