"""Objects as people write them, and what admission says of each: for the validator, the webhook and the CRDs."""
