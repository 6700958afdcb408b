"""Makes a trained network small: one method a file, each usable alone, none knowing Ray.

distill    a student learns from a teacher's outputs
prune      the smallest weights become zero, and stay zero
finetune   training under a mask
quantize   weights become few-bit integers; how few is searched on the validation split
compress   the steps in order: prune, fine-tune, quantise, encode
"""
