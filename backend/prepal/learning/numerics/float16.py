"""Vectors in half or single precision, and half made single several times faster than NumPy does it."""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float16] | NDArray[np.float32]

# A float16 moved up to where a float32 has its exponent and fraction is 2^112 too small: their exponents are biased by
# 15 and by 127.
_FRACTION_SHIFT = 13
_SIGN_EXPONENT_FRACTION = np.int32(-0x70000001)  # 0x8fffffff: drops the three copies of the sign below it
_REBIAS = np.float32(2.0**112)


def as_float32(vectors: Vectors) -> NDArray[np.float32]:
    """Return finite vectors of any shape as float32, exactly; what is float32 already is not copied."""
    if vectors.dtype != np.float16:
        return vectors.astype(np.float32, copy=False)
    bits = np.ascontiguousarray(vectors).view(np.int16).astype(np.int32)
    bits <<= _FRACTION_SHIFT
    bits &= _SIGN_EXPONENT_FRACTION
    floats = bits.view(np.float32)
    floats *= _REBIAS
    return floats
