"""WHEN the desk works: definitions, jobs, schedules, sensors, the resident ticker and the command line."""
