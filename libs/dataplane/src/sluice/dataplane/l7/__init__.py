"""Layer 7 rules as Suricata signatures: what the engine must hold for one rule's entries.

`docs/backends/l7.md` explains the construction and what remains impossible. `signature` is how one line is written,
`wildcard` how a pattern becomes keywords, `opening`, `http` and `tls` hold the three parts of a rule set, and
`ruleset` puts them together.
"""
