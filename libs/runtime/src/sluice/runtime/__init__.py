"""NATS, settings, logging, metrics, health, and the frame that services run in."""
