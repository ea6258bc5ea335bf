"""The Beam jobs, one file a job: thin transforms over the rooms below. Beam is imported in this room only."""
