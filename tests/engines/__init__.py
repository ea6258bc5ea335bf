"""Jobs on real engines: clusters of separate processes on loopback, started and stopped here."""
