"""Promise: version 1 payloads stay as they are, to the bit.

These values were written once. If a test here fails, the format has changed: old data would no longer
decode, or new data would differ from machine to machine. Do not change a value; add a coder instead.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mdlake.coding import CODERS

SMALL = {
    "text": (np.frombuffer(b"she sells sea shells by the sea shore", np.uint8), 256),
    "ternary": (np.arange(40, dtype=np.uint8) % 7 % 3, 3),
    "equal": (np.full(1000, 5, np.uint8), 6),
    "wide": (np.array([0, 4095, 300, 300, 300, 17, 4095, 300], np.uint16), 4096),
}


def spread(count: int, alphabet: int) -> np.ndarray:
    """Skewed symbols by integer arithmetic alone: the same wherever this runs."""
    noise = np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)
    noise = noise * noise >> np.uint64(32)
    return (noise * np.uint64(alphabet) >> np.uint64(32)).astype(np.uint16 if alphabet > 256 else np.uint8)


LARGE = {
    "bytes": (spread(400_007, 200), 200),
    "bits": (spread(100_000, 9) // 8, 2),
    "wide": (spread(150_000, 3000), 3000),
}

PAYLOADS = {
    ("raw", "wide"): "0000ff0f2c012c012c011100ff0f2c01",
    ("huffman", "text"): "0016084e2438392d57a2ea1a10d82343b443c44768b9abf1a1e2277cc0",
    ("huffman", "ternary"): "0077785acb596b2d65acb4",
    ("huffman", "equal"): "009a",
    ("huffman", "wide"): "0024e11811e203c498d0f0",
    ("rans", "text"): "0616084609090e46d2ad5575874ad435ce28bfa5c608a1693d41ed04092036",
    ("rans", "ternary"): "0670dcb590cc100e5051a499c337d7",
    ("rans", "equal"): "009a",
    ("rans", "wide"): "032611811e203c490078710040",
    ("rans_order1", "text"): "0038c0423048487236956aabac3a56b38035ce28bfa5c608a1693d41ed04092036",
    ("rans_order1", "ternary"): "003384e412dd00f068d214737c",
    ("rans_order1", "equal"): "00a37000000100",
    ("rans_order1", "wide"): "0021708c08f101e24b78710040",
    ("range", "text"): "2c8c9f621b3f6c70a0ec36f02ccfd4a761296f4baf19c5",
    ("range", "ternary"): "0bd4fade3b57",
    ("range", "equal"): "044a78",
    ("range", "wide"): "10fff0005f8c016e88",
    ("lz77", "text"): "61c0d3dbda9e0016084e2438392d56e9370919a02343bb10e913dcb6913f8c10040002020c1201",
    ("lz77", "ternary"): "420cd7555c0077785ac007130208",
    ("lz77", "equal"): "4957555c0501276400",
    ("lzw", "text"): "801ccd065101ccca6c361ce0a6530c16070885188f2203a40e170d811bce465808",
    ("lzw", "ternary"): "800000202814120b0783c0c01098342a15098080",
    (
        "lzw",
        "equal",
    ): "800160503824160d0784426150b864361d0f8844625138a4562d178c466351b8e4763d1f904864523924964d27944a6552b9642a02",
    ("zstd", "text"): "0000150100e281060cd0e75528c398f00bc0041407172dc60b766629e1b233974b0301005736c7",
    ("zstd", "ternary"): "000085000038000102000102000200383b20af1801",
    ("zstd", "equal"): "000045000008050100e42b2004",
    ("zstd", "wide"): "00008100000000ff0f2c012c012c011100ff0f2c01",
}

DIGESTS = {
    ("huffman", "bytes"): "d790213c64fe3ae1",
    ("huffman", "bits"): "1210ef0f117895f9",
    ("huffman", "wide"): "c055da7ee0c475fc",
    ("rans", "bytes"): "0f0932cb75cd370d",
    ("rans", "bits"): "15d70bf5a1248d47",
    ("rans", "wide"): "d701f8b63b33e11a",
    ("rans_order1", "bytes"): "ff1b628853f6bb86",
    ("rans_order1", "bits"): "53bf4813753ffdb4",
    ("rans_order1", "wide"): "2f085c7fea34361b",
    ("range", "bytes"): "cbe5ca78458022a2",
    ("range", "bits"): "1f84edfd6516b9fe",
    ("range", "wide"): "b75fe7390c8db467",
    ("lz77", "bytes"): "8c25fd14a3f880e7",
    ("lz77", "bits"): "247695f45a1c5d33",
    ("lzw", "bytes"): "9ddd10fbc6451a89",
    ("lzw", "bits"): "e652abda9bffeac8",
}


@pytest.mark.parametrize(("name", "sample"), PAYLOADS)
def test_small_payloads(name: str, sample: str) -> None:
    coder, (symbols, alphabet) = CODERS[name], SMALL[sample]
    payload = bytes.fromhex(PAYLOADS[name, sample])
    np.testing.assert_array_equal(coder.decode(payload, symbols.size, alphabet), symbols)
    if name != "zstd":  # another release of the library may find a shorter frame
        assert coder.encode(symbols, alphabet) == payload


@pytest.mark.parametrize(("name", "sample"), DIGESTS)
def test_large_payloads(name: str, sample: str) -> None:
    """With all lanes, full tables and models that have settled."""
    symbols, alphabet = LARGE[sample]
    payload = CODERS[name].encode(symbols, alphabet)
    assert hashlib.sha256(payload).hexdigest()[:16] == DIGESTS[name, sample]
    np.testing.assert_array_equal(CODERS[name].decode(payload, symbols.size, alphabet), symbols)
