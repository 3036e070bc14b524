"""A GET with Python's own library."""

import sys
import urllib.request

with urllib.request.urlopen(sys.argv[1], timeout=60) as answer:
    print(answer.read().decode())
