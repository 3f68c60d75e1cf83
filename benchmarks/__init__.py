"""The workloads of `performance.md`: Diptych beside the raw driver, doing the same durable work in the same run."""
