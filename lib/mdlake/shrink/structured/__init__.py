"""Structured pruning: whole filters and neurons go, and with them all that only served them.

channels    which channels of which layers belong together (a trace of the network)
importance  a score for each of these units
cut         takes units out: the modules really get smaller
macs        multiplications and additions of a forward pass
"""
