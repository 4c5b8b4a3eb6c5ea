"""What operators see of calls: metrics, traces and logs."""
