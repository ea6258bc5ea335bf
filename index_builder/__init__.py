"""Vectors to a published index: plan, sample, train, encode, assemble, evaluate, publish, read.

May import `catalog`. FAISS is imported late, inside functions, so that a command line starts fast and a process that
forks has not touched it.
"""
