"""What an app tells of its work, and the two that listen: Prometheus and OpenTelemetry."""
