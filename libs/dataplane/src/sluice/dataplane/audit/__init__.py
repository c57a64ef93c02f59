"""Logs of decisions: how a line of np.log is written and read, and what an event of the engine's log says."""
