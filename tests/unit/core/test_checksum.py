"""Checksums are CRC-32, whichever library computes them."""

from __future__ import annotations

import importlib
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqd.core import checksum


@pytest.fixture(params=["as installed", "without isal"])
def crc32(request, monkeypatch):
    if request.param == "without isal":
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    yield importlib.reload(checksum).crc32
    monkeypatch.undo()
    importlib.reload(checksum)


def test_it_is_the_sum_that_others_compute(crc32):
    assert crc32(b"123456789") == 0xCBF43926  # the check value of its specification
    assert crc32(b"") == 0
    assert crc32(b"6789", crc32(b"12345")) == 0xCBF43926


def test_whatever_bytes_are_made_of_they_have_one_sum(crc32):
    data = bytes(range(256)) * 300
    for kind in (bytes, bytearray, memoryview):
        assert crc32(kind(data)) == zlib.crc32(data)
    assert crc32(memoryview(data)[7:-5]) == zlib.crc32(data[7:-5])


@given(st.binary(), st.binary())
def test_all_agree(first, second):
    assert checksum.crc32(second, checksum.crc32(first)) == zlib.crc32(first + second)
