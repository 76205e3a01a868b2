"""Speed and memory beside the real runtimes and engines, as ratios: `make bench`.

Milliseconds of one machine say nothing on another, and a busy machine's say nothing at all. So every figure
is a ratio of medians of runs that alternate, in random order, between ours and the peers on the same bundle
or image.
"""
