"""Promise: a decoder given any bytes at all returns `count` symbols or raises one of two errors.

It never crashes, hangs or touches memory that is not its own. The block's checksum, not the coder,
promises that wrong symbols are never returned.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mdlake.coding import CODERS, Coder
from mdlake.coding.coder import symbol_dtype
from mdlake.errors import CorruptError, TruncatedError

RNG_SEED = 20


def skewed(count: int, alphabet: int) -> np.ndarray:
    uniform = np.random.default_rng(RNG_SEED).random(count)
    return (uniform**3 * alphabet).astype(symbol_dtype(alphabet))


SAMPLES = {
    "few": (np.array([0, 1, 1, 0, 2], np.uint8), 3),
    "equal": (np.full(100, 7, np.uint8), 8),
    "skewed": (skewed(150, 30), 30),
    "repeats": (np.tile(skewed(25, 256), 6), 256),
    "wide": (skewed(60, 4096), 4096),
}


@pytest.fixture(params=sorted(CODERS))
def coder(request: pytest.FixtureRequest) -> Coder:
    return CODERS[request.param]


def samples_of(coder: Coder) -> Iterator[tuple[bytes, int, int]]:
    for symbols, alphabet in SAMPLES.values():
        if alphabet <= coder.max_alphabet:
            yield coder.encode(symbols, alphabet), symbols.size, alphabet


def outcome(coder: Coder, data: bytes, count: int, alphabet: int) -> str:
    try:
        symbols = coder.decode(data, count, alphabet)
    except (CorruptError, TruncatedError) as error:
        assert str(error)
        return type(error).__name__
    assert symbols.shape == (count,)
    assert symbols.dtype == symbol_dtype(alphabet)
    assert count == 0 or int(symbols.max()) < alphabet
    return "symbols"


def test_damaged_every_truncation(coder: Coder) -> None:
    """All are noticed: each coder knows where it must end."""
    for payload, count, alphabet in samples_of(coder):
        outcomes = [outcome(coder, payload[:size], count, alphabet) for size in range(len(payload))]
        assert "symbols" not in outcomes


def test_damaged_every_flipped_byte(coder: Coder) -> None:
    for payload, count, alphabet in samples_of(coder):
        for at in range(len(payload)):
            for mask in (0x01, 0x10, 0x80, 0xFF):
                damaged = payload[:at] + bytes([payload[at] ^ mask]) + payload[at + 1 :]
                outcome(coder, damaged, count, alphabet)


def test_damaged_trailing_bytes(coder: Coder) -> None:
    for payload, count, alphabet in samples_of(coder):
        for extra in (b"\x00", b"\xff", b"\x00\x00", bytes(64), payload):
            with pytest.raises(CorruptError):
                coder.decode(payload + extra, count, alphabet)
    with pytest.raises(CorruptError):
        coder.decode(b"\x00", 0, 4)


def test_damaged_noise(coder: Coder) -> None:
    rng = np.random.default_rng(RNG_SEED)
    for size in [*range(1, 40), 100, 400]:
        for _ in range(20):
            count, alphabet = int(rng.integers(0, 200)), int(rng.integers(1, coder.max_alphabet + 1))
            outcome(coder, rng.bytes(size), count, alphabet)


def test_damaged_count_or_alphabet(coder: Coder) -> None:
    for payload, count, alphabet in samples_of(coder):
        for other in (0, 1, count - 1, count + 1, 10 * count):
            outcome(coder, payload, other, alphabet)
        for other in (1, 2, alphabet - 1, alphabet + 1, coder.max_alphabet):
            if 1 <= other <= coder.max_alphabet:
                outcome(coder, payload, count, other)


@pytest.mark.parametrize("name", ["rans", "huffman"])
def test_damaged_lanes(name: str) -> None:
    """Payloads long enough for all lanes, hit in the tables, the states and the words."""
    coder, rng = CODERS[name], np.random.default_rng(RNG_SEED)
    symbols = rng.integers(0, 256, 200_003).astype(np.uint8)
    payload = bytearray(coder.encode(symbols, 256))
    for at in [*range(0, 1200, 7), *rng.integers(0, len(payload), 20).tolist()]:
        payload[at] ^= 0x55
        outcome(coder, bytes(payload), symbols.size, 256)
        payload[at] ^= 0x55
    assert outcome(coder, bytes(payload), symbols.size, 256) == "symbols"


@pytest.mark.skipif("NUMBA_BOUNDSCHECK" in os.environ, reason="this is the run that is checked")
def test_no_kernel_leaves_its_arrays(tmp_path: Path) -> None:
    """All of the above again with kernels compiled to check each index."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "damaged"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
