"""ICC profiles of a few hundred bytes, and the textbook formulas that say what they must do."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

# Columns are the primaries in XYZ, adapted to D50 (Lindbloom; Apple's Display P3 profile).
SRGB = ((0.4360747, 0.3850649, 0.1430804), (0.2225045, 0.7168786, 0.0606169), (0.0139322, 0.0971045, 0.7141733))
DISPLAY_P3 = ((0.5151215, 0.2919769, 0.1571045), (0.2411957, 0.6922455, 0.0665741), (-0.0010376, 0.0418854, 0.7840729))
ADOBE_RGB = ((0.6097559, 0.2052401, 0.1492240), (0.3111242, 0.6256560, 0.0632197), (0.0194811, 0.0608902, 0.7448387))
ADOBE_GAMMA = 563 / 256
WHITE = np.array([0.9642, 1.0, 0.8249])


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, values from 0 to 1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_srgb(xyz: np.ndarray) -> np.ndarray:
    """uint8 of XYZ under D50, clipped to the gamut."""
    linear = np.clip(xyz @ np.linalg.inv(np.array(SRGB)).T, 0, 1)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)


def lab_to_srgb(lab: Sequence[float]) -> np.ndarray:
    """uint8 of CIE L*a*b* under D50."""
    lightness, a, b = lab
    y = (lightness + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    return to_srgb(WHITE * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)))


def rgb_profile(primaries: Sequence[Sequence[float]], gamma: float | None = None) -> bytes:
    """A display profile: primaries, and a power curve or the curve of sRGB."""
    tags = {
        f"{name}XYZ": b"XYZ \0\0\0\0" + b"".join(map(_fixed, column))
        for name, column in zip("rgb", zip(*primaries, strict=True), strict=True)
    }
    return _profile(b"RGB ", b"XYZ ", {**tags, **{f"{name}TRC": _curve(gamma) for name in "rgb"}})


def grey_profile(gamma: float | None = None) -> bytes:
    """A grey profile with a power curve or the curve of sRGB."""
    return _profile(b"GRAY", b"XYZ ", {"kTRC": _curve(gamma)})


def cmyk_profile(inks: dict[tuple[int, int, int, int], tuple[float, float, float]]) -> bytes:
    """A print profile: L*a*b* of the 16 overprints of full inks, white paper where nothing is said."""
    table = b""
    for number in range(16):
        lab = inks.get(tuple(number >> shift & 1 for shift in (3, 2, 1, 0)), (100, 0, 0))  # type: ignore[arg-type]
        table += bytes([round(lab[0] * 2.55), round(lab[1] + 128), round(lab[2] + 128)])
    identity = b"".join(_fixed(value) for value in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    ramp = bytes(range(256))
    return _profile(
        b"CMYK", b"Lab ", {"A2B0": b"mft1\0\0\0\0\4\3\2\0" + identity + ramp * 4 + table + ramp * 3}, b"prtr"
    )


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65_536))


def _curve(gamma: float | None) -> bytes:
    if gamma is not None:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    values = np.round(srgb_to_linear(np.linspace(0, 1, 1024)) * 65_535).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + values.tobytes()


def _profile(space: bytes, connection: bytes, tags: dict[str, bytes], kind: bytes = b"mntr") -> bytes:
    tags = {**tags, "wtpt": b"XYZ \0\0\0\0" + b"".join(map(_fixed, WHITE))}
    offset, table, body = 132 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += struct.pack(">4sII", name.encode(), offset + len(body), len(data))
        body += data
    header = struct.pack(">I4sI4s4s4s", offset + len(body), b"", 0x02400000, kind, space, connection)
    header += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + b"".join(map(_fixed, WHITE))
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
