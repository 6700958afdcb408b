"""Makes a trained network small: one method a file, each usable alone, none knowing Ray.

distill         a student learns from a teacher's outputs
distill_losses  the losses for classes: soft, hard and decoupled labels
feature_losses  the losses between inner layers: hints, attention, relations
prune/          single weights become zero, by magnitude, sensitivity or curvature, and stay zero
structured/     whole filters and neurons go, and what only served them
factorize/      one layer becomes two smaller ones
quantize/       weights and activations become few-bit numbers, or members of a codebook
finetune        training under a mask
aware           training for few-bit weights
curvature       what the loss answers to each weight: gradients, Fisher matrix
inputs          what goes into each layer: second moments
outputs         what each layer's outputs are worth: curvature of the loss
compress        the steps in order: prune, fine-tune, quantise, encode
"""
