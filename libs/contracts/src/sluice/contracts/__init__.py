"""What travels on the bus: objects, events, subjects, streams and their codec."""
