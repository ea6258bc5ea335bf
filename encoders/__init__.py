"""Pixels to vectors: the decode policy, the encoders and what they declare about themselves.

May import `catalog`. TensorFlow is imported inside this room only, when an encoder that needs it is loaded.
"""
