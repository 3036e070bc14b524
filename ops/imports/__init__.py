"""Reading what firms already have (spreadsheets, other proxies' rules) as wishes of a policy. Nothing here asks a node.

Whatever a file holds, it is read or reported: a bad row costs that row, and no more.
"""
