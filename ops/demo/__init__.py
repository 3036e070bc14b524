"""A whole small zone in network namespaces: `feiyu demo`, and what acceptance tests and benchmarks run on."""
