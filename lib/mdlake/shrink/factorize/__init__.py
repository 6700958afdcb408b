"""Factorising: one layer becomes two smaller ones that do nearly the same.

ranks    how many factors to keep: by energy, by description length, by a share of the weights
layers   one Linear or Conv2d as two: by singular values, plain or weighted by the data that comes in
network  all layers of a network for which it pays
"""
