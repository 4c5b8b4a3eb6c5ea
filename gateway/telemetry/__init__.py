"""What the gateway tells about itself: figures for Prometheus, traces, and what calls cost."""
