"""Rules over the record stream in Sigma: read, checked, compiled to predicates, correlated. Pure but for reading files.

The word is 拦截: blocking what a rule names, never eavesdropping; a rule sees the fields of a record and nothing else.
"""
