"""Makes a trained network small: one method a file, each usable alone, none knowing Ray.

distill    a student learns from a teacher's outputs
prune      weights that matter least become zero, at once or while training, and may come back meanwhile
quantize   weights become few-bit integers or share a few values
aware      training that sees what rounding will do
stages     these as the stages of a recipe, with the training that each asks for
compress   the stages in order, then an artifact
"""
