"""Speech in and out, behind three protocols."""
