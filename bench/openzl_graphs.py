"""The OpenZL graphs that are searched, after the anchors of this project: name -> what builds it in a compressor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Graph = Callable[[Any], Any]  # compressor -> graph in it


class Graphs:
    """The graphs for plain bytes, numbers and strings, of OpenZL's module `zl`."""

    def __init__(self, zl: Any) -> None:
        self.zl, self.nodes = zl, zl.nodes
        graphs = zl.graphs
        self.compress: Graph = lambda c: graphs.Compress()(c)
        self.field_lz: Graph = lambda c: graphs.FieldLz(compression_level=9)(c)
        self.zstd: Graph = lambda c: graphs.Zstd(compression_level=19)(c)
        self.entropy: Graph = lambda c: graphs.Entropy()(c)
        self.constant: Graph = lambda c: graphs.Constant()(c)
        self.number_zstd = self.after("ConvertNumToSerialLE", self.zstd)

    def after(self, *path: Any) -> Graph:
        """Nodes by name, one after the other, then a graph."""
        *nodes, last = path
        for node in reversed(nodes):
            last = _chain(getattr(self.nodes, node), last)
        return last

    def tokens(self, type_: Any, sort: bool, alphabet: Graph, indices: Graph) -> Graph:
        return lambda c: self.nodes.Tokenize(type=type_, sort=sort)(c, alphabet(c), indices(c))

    def serial(self) -> dict[str, Graph]:
        return {"zstd": self.zstd, "compress": self.compress}

    def numbers(self) -> dict[str, Graph]:
        planes = self.after("ConvertNumToStructLE", "TransposeSplit", self.zstd)
        ends = {"lz": self.field_lz, "zstd": self.number_zstd, "entropy": self.entropy, "planes": planes}
        graphs = {
            "compress": self.compress,
            **ends,
            "planes compress": self.after("ConvertNumToStructLE", "TransposeSplit", self.compress),
            "constant": self.after("ConvertNumToStructLE", self.constant),
            "range entropy": self.after("RangePack", self.entropy),
            "delta lz": self.after("DeltaInt", self.field_lz),
            "delta planes": self.after("DeltaInt", planes),
            "delta zigzag lz": self.after("DeltaInt", "Zigzag", self.field_lz),
            "delta zigzag range zstd": self.after("DeltaInt", "Zigzag", "RangePack", self.number_zstd),
            "delta zigzag range entropy": self.after("DeltaInt", "Zigzag", "RangePack", self.entropy),
        }
        for name in ("lz", "zstd"):
            graphs[f"range {name}"] = self.after("RangePack", ends[name])
            graphs[f"divide range {name}"] = self.after("DivideBy", "RangePack", ends[name])
        numeric = self.zl.Type.Numeric
        for name, indices in ends.items():
            graphs[f"sorted tokens, delta, {name}"] = self.tokens(numeric, True, graphs["delta lz"], indices)
            graphs[f"sorted tokens, planes, {name}"] = self.tokens(numeric, True, planes, indices)
            graphs[f"tokens, planes, {name}"] = self.tokens(numeric, False, planes, indices)
        return graphs

    def strings(self) -> dict[str, Graph]:
        parts: Graph = lambda c: self.nodes.SeparateStringComponents()(c, self.zstd(c), self.field_lz(c))  # noqa: E731
        prefix: Graph = lambda c: self.nodes.Prefix()(c, parts(c), self.field_lz(c))  # noqa: E731
        graphs = {"compress": self.compress, "parts": parts, "prefix": prefix}
        for name, indices in (("lz", self.field_lz), ("zstd", self.number_zstd), ("entropy", self.entropy)):
            for kind, alphabet in (("parts", parts), ("prefix", prefix)):
                for sort in (True, False):
                    token = self.tokens(self.zl.Type.String, sort, alphabet, indices)
                    graphs[f"{'sorted ' * sort}tokens, {kind}, {name}"] = token
        return graphs


def _chain(node: Any, successor: Graph) -> Graph:
    return lambda c: node()(c, successor(c))
