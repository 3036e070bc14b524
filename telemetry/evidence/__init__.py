"""The evidence log of a node: records under a Merkle tree whose head is signed, in files that anybody can check."""
