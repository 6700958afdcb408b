"""Makes a trained network small: one method a file, each usable alone, none knowing Ray.

distill          a student learns from a teacher: its outputs, its inner layers, or without any data
prune            weights that matter least become zero, at once or while training, and may come back meanwhile
structured       channels and neurons go, with all that hangs on them: the module really shrinks
factorize        layers become two smaller ones of low rank
quantize         weights become few-bit integers or share a few values; activations too
aware            training that sees what rounding will do
inputs, outputs, curvature    what these need to know of data: moments of inputs, gradients of losses
stages           these as the stages of a recipe, with the training that each asks for
choices          options that are lists are tried with each value
attempts         the ways to go through the stages that a recipe asks for
compress         the stages in order, then an artifact: a candidate
search           which candidate is taken, and what is worth trying next
layers           what each stage saved and cost, layer by layer
"""
