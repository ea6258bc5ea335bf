"""What is written down about the encoder that made a vector, so that vectors of two encoders never meet."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

METRICS = ("cosine", "dot", "l2", "l1")
VECTOR_TYPES = ("float16", "float32")
PRECISIONS = ("float32", "bfloat16", "float16")
ENGINES = ("auto", "openvino", "tensorflow")
#: The spec of vectors whose encoder is not here: they were made elsewhere and imported.
IMPORTED = "imported"


@dataclass(frozen=True)
class EncoderInfo:
    """An encoder, described.

    Attributes:
        name: short and readable, such as `mobilenet_v2_100_224`.
        spec: the `--encoder` text that loads it again, local paths made absolute; `IMPORTED` where nothing does.
        dimension: of its vectors.
        input_size: (height, width) in pixels that it is given; (0, 0) for imported vectors.
        metric: the measure it is meant for, one of `METRICS`.
        normalized: whether its vectors have unit length.
        fingerprint: sha256 of all that changes a vector: weights, preprocessing, precision, normalisation. Of imported
            vectors, of what was declared about them.
    """

    name: str
    spec: str
    dimension: int
    input_size: tuple[int, int]
    metric: str
    normalized: bool
    fingerprint: str

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "input_size": list(self.input_size)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> EncoderInfo:
        return cls(**{**value, "input_size": tuple(value["input_size"])})
