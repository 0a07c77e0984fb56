"""The neutral stream messages in each carrier's own words."""
