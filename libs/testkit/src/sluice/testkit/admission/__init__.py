"""Objects as users write them, and admission's answer to each: for the validator, the webhook and the CRDs."""
