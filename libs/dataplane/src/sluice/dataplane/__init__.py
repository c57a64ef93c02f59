"""Pipelines as data: what each backend must hold, and the plan that gets it there."""
