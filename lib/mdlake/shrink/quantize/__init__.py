"""Quantising: weights become few-bit numbers, after training or during it.

linear           round(w / scale), symmetric, and the search for how few bits a network can do with
uniform          the same with a zero point, a scale per tensor, channel or group
signs            binary and ternary weights
codebook         k-means centroids, which can be trained
feedback         error feedback through the inputs' second moments (GPTQ)
rates            levels chosen by error and by what they cost in bits
rate_distortion  the same with data, feedback and one price for all layers
price            the highest price of a bit that a measure allows
norms            batch norms without statistics
correction       biases and batch statistics, from data
activations      scales for what flows between layers, fixed or per batch
"""

from mdlake.shrink.quantize.linear import (
    Quantized,
    Schemes,
    Weights,
    check_linear,
    quantize_all,
    quantize_linear,
    search_bits,
    uniform_bits,
)

__all__ = [
    "Quantized",
    "Schemes",
    "Weights",
    "check_linear",
    "quantize_all",
    "quantize_linear",
    "search_bits",
    "uniform_bits",
]
