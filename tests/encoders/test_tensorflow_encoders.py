"""Encoders that TensorFlow runs: from a folder, by a handle over HTTP, and by a Keras name, on models made here."""

from __future__ import annotations

import functools
import http.server
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from catalog.errors import UsageError
from encoders.registry import load_encoder
from encoders.tensorflow_import import tensorflow
from tests.conftest import draw_picture


def pictures(count: int, side: int) -> np.ndarray:
    return np.stack([np.asarray(draw_picture(seed, (side, side))) for seed in range(count)])


def test_a_saved_model_gives_the_vectors_that_tensorflow_gives(tiny_saved_model: Path) -> None:
    tf = tensorflow()
    images = pictures(5, 32)
    raw = tf.saved_model.load(str(tiny_saved_model))(images.astype(np.float32) / 255).numpy()
    vectors = load_encoder(f"savedmodel:{tiny_saved_model}").encode(images)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5)


def test_it_declares_dimension_input_size_metric_and_unit_length(tiny_saved_model: Path) -> None:
    info = load_encoder(f"savedmodel:{tiny_saved_model}").info
    assert (info.name, info.dimension, info.input_size) == ("tiny", 24, (32, 32))
    assert (info.metric, info.normalized) == ("cosine", True)


def test_a_vector_does_not_depend_on_how_many_rows_came_with_it(tiny_saved_model: Path) -> None:
    encoder = load_encoder(f"savedmodel:{tiny_saved_model}")
    images = pictures(70, 32)
    together = encoder.encode(images)
    for start in (0, 1, 33, 69):
        np.testing.assert_array_equal(encoder.encode(images[start : start + 1])[0], together[start])


def test_the_fingerprint_follows_the_weights_and_not_the_place(tiny_saved_model: Path, tmp_path: Path) -> None:
    moved, changed = tmp_path / "elsewhere", tmp_path / "changed"
    shutil.copytree(tiny_saved_model, moved)
    shutil.copytree(tiny_saved_model, changed)
    weights = next((changed / "variables").glob("*.data-*"))
    data = bytearray(weights.read_bytes())
    data[100] ^= 1
    weights.write_bytes(bytes(data))
    fingerprint = load_encoder(f"savedmodel:{tiny_saved_model}").info.fingerprint
    assert load_encoder(f"savedmodel:{moved}").info.fingerprint == fingerprint
    from encoders.tf_function import files_fingerprint

    assert files_fingerprint(str(changed)) != files_fingerprint(str(moved))


def test_what_is_no_saved_model_is_refused(tmp_path: Path, tiny_saved_model: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no saved_model\.pb in that folder"):
        load_encoder(f"savedmodel:{tmp_path}")
    with pytest.raises(UsageError, match="does not take images of 64 x 64 pixels"):
        load_encoder(f"savedmodel:{tiny_saved_model}?size=64")
    with pytest.raises(UsageError, match="size=big is no size"):
        load_encoder(f"savedmodel:{tiny_saved_model}?size=big")


def test_a_model_with_only_a_signature_is_called_by_it(tmp_path: Path) -> None:
    tf = tensorflow()

    class Served(tf.Module):  # type: ignore[misc, name-defined]
        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
        def serve(self, images):  # type: ignore[no-untyped-def]
            return {"feature_vector": tf.reduce_mean(images, axis=[1, 2])}

    module = Served()
    tf.saved_model.save(module, str(tmp_path / "served"), signatures={"serving_default": module.serve})
    encoder = load_encoder(f"savedmodel:{tmp_path / 'served'}?size=16")
    assert encoder.info.input_size == (16, 16)
    images = np.full((1, 16, 16, 3), (255, 0, 0), np.uint8)
    np.testing.assert_allclose(encoder.encode(images), [[1, 0, 0]], atol=1e-6)


@pytest.fixture
def model_server(tmp_path: Path, tiny_saved_model: Path) -> Iterator[tuple[str, list[str]]]:
    """A server that hands out the model as TF-Hub servers do; and the requests that it was sent."""
    site = tmp_path / "site"
    site.mkdir()
    with tarfile.open(site / "tiny.tar.gz", "w:gz") as archive:
        archive.add(tiny_saved_model, arcname=".")
    requests: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            requests.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/tiny.tar.gz", requests
    server.shutdown()
    server.server_close()


def test_a_tfhub_handle_is_downloaded_once_and_then_read_from_the_cache(
    model_server: tuple[str, list[str]], tiny_saved_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from encoders.saved_model import load_tfhub

    handle, requests = model_server
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    first, second = load_tfhub(handle, "auto"), load_tfhub(handle, "auto")
    assert len(requests) == 1
    images = pictures(3, 32)
    np.testing.assert_array_equal(first.encode(images), second.encode(images))
    local = load_encoder(f"savedmodel:{tiny_saved_model}")
    np.testing.assert_array_equal(first.encode(images), local.encode(images))
    assert first.info.fingerprint == local.info.fingerprint


def test_a_handle_that_cannot_be_resolved_is_answered_with_one_sentence() -> None:
    with pytest.raises(
        UsageError, match=r"--encoder tfhub:/no/such/model cannot be loaded: .*expected a TF-Hub handle"
    ):
        load_encoder("tfhub:/no/such/model")


@pytest.fixture(scope="module")
def mobilenet_weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object]:
    """Weights of MobileNetV2 without its top, and the network they belong to."""
    tensorflow()
    import keras

    keras.utils.set_random_seed(3)
    model = keras.applications.MobileNetV2(include_top=False, pooling="avg", input_shape=(224, 224, 3), weights=None)
    path = tmp_path_factory.mktemp("keras") / "mobilenet.weights.h5"
    model.save_weights(path)
    return path, model


def test_a_keras_network_is_built_with_its_weights_and_its_own_preprocessing(
    mobilenet_weights: tuple[Path, object],
) -> None:
    import keras

    path, model = mobilenet_weights
    encoder = load_encoder(f"keras:MobileNetV2@{path}")
    images = pictures(2, 224)
    scaled = keras.applications.mobilenet_v2.preprocess_input(images.astype(np.float32))
    raw = np.asarray(model(scaled, training=False))  # type: ignore[operator]
    np.testing.assert_allclose(encoder.encode(images), raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-4)
    assert (encoder.info.dimension, encoder.info.input_size) == (1280, (224, 224))


def test_a_keras_name_or_weights_that_do_not_fit_are_refused(mobilenet_weights: tuple[Path, object]) -> None:
    with pytest.raises(UsageError, match=r"keras:MobileNetV9: no such network; expected one of .*MobileNetV2"):
        load_encoder("keras:MobileNetV9")
    with pytest.raises(UsageError, match="there is no weights file /no/such"):
        load_encoder("keras:MobileNetV2@/no/such.weights.h5")
    with pytest.raises(UsageError, match="the weights cannot be loaded"):
        load_encoder(f"keras:MobileNet@{mobilenet_weights[0]}")
