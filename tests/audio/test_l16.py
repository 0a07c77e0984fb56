from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.l16 import check_l16, from_floats, to_samples
from bothway.errors import UsageError


def test_samples_are_little_endian_and_signed() -> None:
    assert to_samples(b"\x01\x00\xff\xff\x00\x80\xff\x7f").tolist() == [1, -1, -32768, 32767]


def test_half_a_sample_is_refused_with_its_size() -> None:
    with pytest.raises(UsageError, match="3 bytes"):
        check_l16(b"abc")
    with pytest.raises(UsageError, match="whole number of 2-byte samples"):
        to_samples(b"a")


def test_floats_round_to_the_nearest_and_saturate() -> None:
    given_floats = np.array([0.4, 0.6, -0.6, 2.5, 32767.4, 32768.0, 1e9, -32768.6, -np.inf])
    assert to_samples(from_floats(given_floats)).tolist() == [0, 1, -1, 2, 32767, 32767, 32767, -32768, -32768]


@given(st.lists(st.integers(-32768, 32767)))
def test_every_sample_survives(samples: list[int]) -> None:
    assert to_samples(from_floats(np.array(samples, np.float64))).tolist() == samples
