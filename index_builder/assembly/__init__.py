"""Vectors and codes to the FAISS file, a range of lists at a time."""
