"""What a catalog row, an embedding file, a snapshot, a manifest and a reject are; and the one door to storage.

This room imports no other room of the project, and neither Beam, TensorFlow nor FAISS.
"""
