"""What every shell shares: the driver, duplexes, server, HTTP client, settings, tasks, logs, metrics."""
