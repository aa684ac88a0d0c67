"""Reading what strangers made: paths, texts, archives and images are bounded and checked."""
