"""The search for the shortest description: which chain of encodings makes a stream shortest."""

from mdlake.search.otherwise import RunnerUp, Searched
from mdlake.search.search import Effort, encode_so, shortest

__all__ = ["Effort", "RunnerUp", "Searched", "encode_so", "shortest"]
