"""Distilling: a student learns from a teacher, by what it answers, by what its inner layers see, or without data.

logits               losses of what both answer: soft labels, one soft logit, hard labels, decoupled
features             losses of what inner layers see: hints, attention, relations
loss                 the loss of a training, as a recipe's options have it
watched              inner layers of both networks, caught and compared while training
data_free            a student and a generator of images against each other
data_free_training   the same in epochs, with checkpoints
"""
