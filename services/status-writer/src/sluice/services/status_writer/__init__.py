"""Reports to Kubernetes how far policies are in force: `shell` asks the fold, `writer` writes, `tiers` makes tiers."""
