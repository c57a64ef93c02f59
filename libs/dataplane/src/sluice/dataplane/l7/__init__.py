"""Layer 7 rules as Suricata signatures: what the engine must hold for one rule's entries.

`docs/backends/l7.md` explains the construction and its limits. `signature` writes one line, `wildcard` turns a pattern
into keywords, `opening`, `http` and `tls` build the three parts of a rule set, and `ruleset` combines them.
"""
