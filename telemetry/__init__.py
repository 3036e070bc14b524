"""Records: what happened, written once, folded into everything else (metrics, streams, evidence)."""
