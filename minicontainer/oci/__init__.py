"""The Open Container Initiative's runtime specification: its files as types, and the checks they must pass.

`json_text`, `shape`, `schema`, `check`, `sysctls` and `example` are the quick form that the runtime executes;
`config`, `state` and `features` are the readable form of the same rules. The tests hold the two together.

Implements https://github.com/opencontainers/runtime-spec, version 1.2 (and the Linux additions of 1.3).
"""
