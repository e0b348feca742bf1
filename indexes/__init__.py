"""FAISS: the candidate distance over the ID labels, and the flat index of the negative labels."""
