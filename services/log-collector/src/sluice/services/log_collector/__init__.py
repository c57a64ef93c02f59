"""log-collector: follows the logs of one node, np.log and eve.json, and publishes their events to AUDIT."""
