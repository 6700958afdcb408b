"""The search for the shortest description: which chain of encodings makes a stream shortest."""

from mdlake.search.otherwise import RunnerUp, Searched
from mdlake.search.search import Effort, shortest

__all__ = ["Effort", "RunnerUp", "Searched", "shortest"]
